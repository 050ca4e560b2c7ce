"""The search for a culprit on a person's own clone, without GitHub: `python -m bot bisect`."""
