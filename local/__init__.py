"""Everything on one machine: web, worker, and, without keys of one's own, the sandbox."""
