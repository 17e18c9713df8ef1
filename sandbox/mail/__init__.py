"""Where the sandbox's letters go: an SMTP server that keeps them, and pages that show them."""

from sandbox.mail.pages import blueprint
from sandbox.mail.sink import PORT_FILE, MailSink

__all__ = ["PORT_FILE", "MailSink", "blueprint"]
