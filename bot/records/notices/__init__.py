"""Who hears of it: decided, and kept until it is sent."""
