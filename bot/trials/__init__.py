"""Builds and tries one commit: existing check-runs, GitHub Actions, or a local sandbox."""
