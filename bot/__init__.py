"""Incident Playbooks: brings a broken repository back to a safe state and finds out why."""
