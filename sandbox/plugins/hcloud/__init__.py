"""Stand-in for the official Hetzner Cloud plugin."""
