"""A GitHub on this machine, and stories that play on it."""
