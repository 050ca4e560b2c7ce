"""Rollback: all traffic goes back to the baseline, and it is written down why."""
