"""The main job, shown: one customer's server through its whole life, on this machine."""
