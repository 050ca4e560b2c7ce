"""GitHub's deliveries, and those that never came, become Triggers."""
