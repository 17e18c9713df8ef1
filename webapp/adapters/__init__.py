"""Clients of the companies we talk to, built once from the settings."""
