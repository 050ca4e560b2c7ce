"""The REST API: a resource each."""
