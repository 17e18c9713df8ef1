"""The companies' HTTP APIs as small stateful services in one process."""
