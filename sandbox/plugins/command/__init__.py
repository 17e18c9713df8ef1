"""Stand-in for the official Command plugin."""
