"""May this be done, by this person, now? Pure decisions with reasons."""
