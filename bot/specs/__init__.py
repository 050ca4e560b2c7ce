"""Spec reports in pull requests, ours and others': each gets its table in its description."""
