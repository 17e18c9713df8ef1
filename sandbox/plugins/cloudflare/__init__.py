"""Stand-in for the official Cloudflare plugin."""
