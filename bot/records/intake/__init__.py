"""What came in from outside, and how far it was read."""
