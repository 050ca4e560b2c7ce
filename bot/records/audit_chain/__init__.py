"""What was done, in rows that only grow; and whether they are still what they were."""
