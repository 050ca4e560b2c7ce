"""What the composition root needs that is more than wiring: who acts through what, who is woken."""
