"""The executable `pulumi-resource-hcloud`."""

from sandbox.plugins.serve import main

main("hcloud")
