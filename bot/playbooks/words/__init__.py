"""What people read about a Run: the pieces, where each goes, how it is put there once."""
