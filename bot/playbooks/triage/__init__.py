"""Alerts: one incident per group of conditions, what follows from it, and its end."""
