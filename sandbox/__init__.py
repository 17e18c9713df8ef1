"""The outside world in a box: stand-ins for the companies Clawdet buys from."""
