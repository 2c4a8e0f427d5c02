"""What a network is, and what it costs."""
