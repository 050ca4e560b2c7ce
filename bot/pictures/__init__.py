"""Pictures for issues and check-runs, where GitHub fetches them without a login."""
