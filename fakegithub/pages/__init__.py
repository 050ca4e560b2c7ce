"""Plain pages for people, and logging in with an App."""
