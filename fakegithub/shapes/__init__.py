"""Records as the REST API and webhooks show them."""
