"""What each request of a person does: a command, a button, a label, a call of the API."""
