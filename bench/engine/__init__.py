"""What operations on stacks cost: wall seconds and memory, ours beside the usual ways."""
