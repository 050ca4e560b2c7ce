"""One file per change of the schema. A published one never changes: add the next."""
