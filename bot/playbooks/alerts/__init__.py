"""An alert, and what follows from it."""
