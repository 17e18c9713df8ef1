"""Alembic's folder: one file per change of the database's shape."""
