"""Webhook deliveries, and what can go wrong with one."""
