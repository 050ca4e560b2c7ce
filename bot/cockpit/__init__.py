"""The state of the house at a glance, in a browser."""
