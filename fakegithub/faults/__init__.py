"""Faults on request, and the writes they are counted by."""
