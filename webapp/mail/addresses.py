"""What can stand in the header of a letter."""

from webapp.errors import Invalid


def check_address(address: str) -> None:
    """Raise Invalid unless it can stand in a header: one address, no control characters."""
    name, _, domain = address.rpartition("@")
    unfit = any(ord(char) < 33 or char in ',;<>"\x7f' for char in address)
    if not name or not domain or unfit:
        raise Invalid("This is no e-mail address.", "Check it for typing errors.")
