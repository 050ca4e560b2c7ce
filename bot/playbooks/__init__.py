"""The playbooks of the specification, one file each."""
