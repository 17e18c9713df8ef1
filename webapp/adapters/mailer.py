"""Letters on their way: one SMTP conversation each."""

import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

from webapp.errors import Invalid, SettingsError, Unavailable

PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True)
class Post:
    """A letter as it is sent. `id` becomes its Message-ID: the same letter twice is one to mail
    programs."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    at: datetime


class Mailer:
    """An SMTP server: `smtp://` (STARTTLS where it is offered) or `smtps://`, with `user:password@`
    if it asks who we are. `sender` as in a From header; answers go to `reply_to`."""

    def __init__(self, url: str, sender: str, reply_to: str, timeout_s: float) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in PORTS or not self._url.hostname:
            raise SettingsError("SMTP_URL must be like smtp://user:password@mail.example.com:587.")
        self._sender, self._reply_to, self._timeout_s = sender, reply_to, timeout_s

    def send(self, post: Post) -> None:
        """Hand it to the server. Unavailable when trying again may help, Invalid when not."""
        message = self._message(post)
        try:
            with self._connect() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _meaning(min(codes), error) from error
        except smtplib.SMTPResponseException as error:
            raise _meaning(error.smtp_code, error) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable("The mail server does not answer.", str(error)) from error

    def _connect(self) -> smtplib.SMTP:
        host, port = self._url.hostname or "", self._url.port or PORTS[self._url.scheme]
        server: smtplib.SMTP
        if self._url.scheme == "smtps":
            context = ssl.create_default_context()
            server = smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=self._timeout_s)
        try:
            self._introduce(server)
        except BaseException:
            server.close()
            raise
        return server

    def _introduce(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._url.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if self._url.username:
            server.login(unquote(self._url.username), unquote(self._url.password or ""))

    def _message(self, post: Post) -> EmailMessage:
        message = EmailMessage()
        name, address = parseaddr(self._sender)
        try:
            message["From"] = Address(name, addr_spec=address)
            message["To"] = Address(addr_spec=post.to)
            message["Subject"] = post.subject
            message["Reply-To"] = Address(addr_spec=self._reply_to)
        except (ValueError, IndexError, MessageError) as error:  # a newline, or no address
            raise Invalid("This letter can't be addressed.", str(error)) from error
        message["Date"] = format_datetime(post.at)
        message["Message-ID"] = f"<{post.id}@{address.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(post.text)
        message.add_alternative(post.html, subtype="html")
        return message


def _meaning(code: int, error: Exception) -> Unavailable | Invalid:
    """RFC 5321: 4yz may work later, 5yz never will."""
    if code < 500:
        return Unavailable("The mail server takes no letter now.", str(error))
    return Invalid("The mail server refused the letter.", str(error))
