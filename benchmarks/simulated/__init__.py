"""Simulated histories, signals and the peers that are measured beside ours."""
