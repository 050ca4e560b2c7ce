"""Fast recovery: the hotfix that takes a change back, from plan to outcome."""
