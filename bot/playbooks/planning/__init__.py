"""What is settled before anything is touched: the configuration, how far to go, or why not."""
