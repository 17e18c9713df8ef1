"""Entry point of plain `pulumi preview` and `pulumi up` (Pulumi.yaml's `main`)."""

from infra.program import program

program()
