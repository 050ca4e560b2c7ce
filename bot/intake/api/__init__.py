"""What machines ask by HTTP, and what is answered."""
