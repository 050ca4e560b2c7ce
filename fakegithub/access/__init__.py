"""Who calls, what they may know of, and how GitHub answers."""
