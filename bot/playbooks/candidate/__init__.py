"""What shadow, ramp and rollback share: a candidate, the evidence on it, and what is served."""
