"""Git without a work tree: the mirror, ranges, and computed reverts."""
