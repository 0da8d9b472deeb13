"""Mail to people through the operator's SMTP server, if there is one.

Called after the commit, never inside a transaction. Without SMTP_HOST nothing is sent and `send`
says so; whoever calls shows on the page what the mail would have said.
"""

import smtplib
import ssl
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from licensing.errors import AtelierError

TIMEOUT_SECONDS = 10  # somebody waits at a page; a server that needs longer is as good as away

Security = Literal["starttls", "tls", "none"]


class MailNotSent(AtelierError):  # noqa: N818 - says what happened
    """The mail server is away or refused; what was to be told has to be told otherwise."""

    code = "mail_not_sent"
    status = 502


@dataclass(frozen=True)
class MailServer:
    """Where mail goes out; `sender` is `name <address>` or an address."""

    host: str
    port: int
    security: Security
    user: str | None
    password: str | None
    sender: str


def send(server: MailServer | None, *, to: str, subject: str, text: str) -> bool:
    """Hand one mail to the server; False where there is none. Raises `MailNotSent`.

    `to` is one address; `text` is plain, its lines as they should be read.
    """
    if server is None:
        return False
    try:
        message = _message(server, to, subject, text)
        with _connect(server) as connection:
            if server.user is not None:
                connection.login(server.user, server.password or "")
            connection.send_message(message)
    except (OSError, smtplib.SMTPException, ValueError, UnicodeError) as error:
        raise MailNotSent(f"The mail to {to} could not be sent: {_reason(error)}") from error
    return True


def _message(server: MailServer, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = " ".join(subject.split())
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=server.sender.rpartition("@")[2].rstrip(">"))
    message["Auto-Submitted"] = "auto-generated"  # so that no holiday notice answers it
    message.set_content(text)
    return message


def _connect(server: MailServer) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
    connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    if server.security == "starttls":
        try:
            connection.starttls(context=context)
        except (OSError, smtplib.SMTPException):
            connection.close()
            raise
    return connection


def _reason(error: Exception) -> str:
    """Say it without the server's own words about passwords or internal names."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server does not accept SMTP_USER and SMTP_PASSWORD."
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the mail server does not accept this address."
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered with {error.smtp_code}."
    if isinstance(error, ValueError):
        return "it is not an address that mail can be sent to."
    return "the mail server does not answer."
