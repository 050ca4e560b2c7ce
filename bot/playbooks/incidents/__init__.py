"""One incident: its facts, what is written down about it, and where its records are committed."""
