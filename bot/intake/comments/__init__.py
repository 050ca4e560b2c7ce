"""From a comment's text to the commands in it."""
