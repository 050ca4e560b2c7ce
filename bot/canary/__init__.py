"""Is the candidate worse? Pure: observations and a policy in, a verdict out."""
