"""What exists for one customer: a Pulumi program that reads its configuration and nothing else."""
