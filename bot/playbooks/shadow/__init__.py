"""Shadow: the candidate answers beside the baseline, unseen by users, and both are compared."""
