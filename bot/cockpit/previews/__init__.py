"""Dry runs: what a request would do, how each part of it is undone. They change nothing."""
