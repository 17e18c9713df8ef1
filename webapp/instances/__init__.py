"""Personal assistants: what should be, what is, and how the one becomes the other."""
