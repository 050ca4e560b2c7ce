"""What bounds the bot and self-work: pauses, the gate, budgets, approvals."""
