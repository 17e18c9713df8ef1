"""A proxy that does what Cloudflare's edge does between a browser and an origin."""
