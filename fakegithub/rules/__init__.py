"""What a branch requires, and who may move it."""
