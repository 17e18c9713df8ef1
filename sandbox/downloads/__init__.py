"""The release artifacts that vendors' download sites would serve."""
