"""Bare repositories and git's objects, as the server sees them."""
