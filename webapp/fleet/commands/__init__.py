"""The fleet by command: `flask users`, `instances`, `stacks`, `webhooks`, `worker`, `health`.

What the pages can do; each act names whoever runs it in the record.
"""

from webapp.fleet.commands import (
    health,
    instances,
    operations,
    stacks,
    users,
    webhooks,
    worker,
)

__all__ = ["health", "instances", "operations", "stacks", "users", "webhooks", "worker"]
