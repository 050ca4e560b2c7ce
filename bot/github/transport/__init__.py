"""How a request gets to GitHub and back: identity, budget, retries, verdicts."""
