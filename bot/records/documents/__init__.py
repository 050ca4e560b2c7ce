"""What is committed to the repository: ADRs, and artifacts with their schemas."""
