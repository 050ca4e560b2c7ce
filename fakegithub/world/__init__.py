"""What the demo GitHub remembers, and where its events come from."""
