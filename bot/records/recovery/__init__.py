"""What went wrong and what is done about it: incidents, Runs, and their steps."""
