"""A change to the repository, from its publication to the merge and what follows."""
