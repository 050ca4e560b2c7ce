"""What changes the world, and tells everyone: pushes, checks, merges, the queue."""
