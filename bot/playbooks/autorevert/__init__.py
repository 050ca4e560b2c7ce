"""A red check on the default branch, and what follows from it."""
