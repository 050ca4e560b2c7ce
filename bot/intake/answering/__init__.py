"""One Trigger from receipt to answer: may it, who does it, what is said."""
