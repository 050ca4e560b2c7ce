"""Simulated traffic through a ramp, and the judges that are measured beside ours."""
