"""An incident: its context, its records, its words, and who is told."""
