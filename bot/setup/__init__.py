"""From nothing to a protected repository: the App, and what repositories need."""
