"""The executable `pulumi-resource-cloudflare`."""

from sandbox.plugins.serve import main

main("cloudflare")
