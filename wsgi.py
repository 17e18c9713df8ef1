"""Where `flask` finds the application: `flask --help` lists users, instances, stacks, worker."""

from webapp.app import create_app

__all__ = ["create_app"]
