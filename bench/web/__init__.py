"""What pages, the status API, webhooks and open streams cost."""
