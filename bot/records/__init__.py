"""What happened, kept: incidents, the audit chain, ADRs, artifacts."""
