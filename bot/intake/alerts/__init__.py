"""Alerts in their senders' own formats, grouped, one Trigger for each group that fires."""
