"""What only the cockpit reads: lists, figures, logins."""
