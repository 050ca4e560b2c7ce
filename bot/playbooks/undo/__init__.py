"""How every step is taken back, what nothing takes back, and the taking back."""
