"""Finding the culprit: the search by trials, its fix pull request and reports."""
