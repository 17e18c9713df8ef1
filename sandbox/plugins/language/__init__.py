"""Stand-in for Pulumi's Python language host, so that the plain `pulumi` CLI runs our program."""
