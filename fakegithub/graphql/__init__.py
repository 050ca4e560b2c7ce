"""The GraphQL API, as far as merging needs it."""
