"""What `demo --play` plays: each story goes from what breaks to what is safe again."""
