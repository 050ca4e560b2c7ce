"""GitHub Actions: what workflow files say, and the runner that does it."""
