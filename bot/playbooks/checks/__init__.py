"""What checks say: which of them count, whether they are green, whether a failure is the same."""
