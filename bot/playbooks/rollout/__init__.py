"""What shadow, ramp and rollback share: capabilities, evidence, traffic."""
