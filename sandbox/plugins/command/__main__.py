"""The executable `pulumi-resource-command`."""

from sandbox.plugins.serve import main

main("command")
