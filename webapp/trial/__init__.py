"""Five free messages, before anybody signs in."""
