"""The state of the house at a glance, live, in a browser: reads records, shows them, and asks."""
