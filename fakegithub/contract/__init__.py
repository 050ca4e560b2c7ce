"""GitHub's own description of its API, held against every request and answer."""
