"""Everything from outside becomes a Trigger here, or a clear refusal."""
