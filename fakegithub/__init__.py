"""A GitHub on this machine: REST, GraphQL, git, deliveries, Actions and plain pages."""
