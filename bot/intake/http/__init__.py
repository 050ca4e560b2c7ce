"""What the HTTP routes stand on: bodies, problems, callers and their tokens, descriptions."""
