"""Mail to people through the operator's SMTP server, if there is one.

Called after the commit, never inside a transaction. Where there is no server nothing is sent, and
whoever calls shows on the page what the mail would have said.
"""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr
from typing import Literal

from licensing.errors import AtelierError

TIMEOUT_SECONDS = 10  # somebody waits at a page; a server that needs longer is as good as away

# What goes wrong with one letter and leaves the connection good for the next.
_OF_ONE = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
    ValueError,
)

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
    password: str | None = field(repr=False)
    sender: str


@dataclass(frozen=True)
class Letter:
    """One mail: `to` is one address, `text` is plain, its lines as they should be read."""

    to: str
    subject: str
    text: str


def send(server: MailServer | None, *, to: str, subject: str, text: str) -> bool:
    """Hand one mail to the server; False where there is none. Raises `MailNotSent`."""
    if server is None:
        return False
    problem = send_all(server, [Letter(to, subject, text)])[0]
    if problem is not None:
        raise MailNotSent(problem)
    return True


def send_all(server: MailServer, letters: Sequence[Letter]) -> list[str | None]:
    """Hand mails to the server on one connection; say of each why it did not go, None if it did.

    Once the connection is lost the letters after it are not tried: somebody waits.
    """
    problems: list[str | None] = []
    lost: str | None = None
    connection: smtplib.SMTP | None = None
    for letter in letters:
        reason = lost
        if reason is None:
            try:
                connection = connection or _connect(server)
                connection.send_message(_message(server, letter))
            except (OSError, ValueError) as error:  # whatever smtplib raises is an OSError
                reason = _reason(error)
                lost = reason if connection is None or not isinstance(error, _OF_ONE) else None
        problems.append(reason and f"The mail to {letter.to} could not be sent: {reason}")
    if connection is not None:
        with suppress(smtplib.SMTPException, OSError):
            connection.quit()
    return problems


def _message(server: MailServer, letter: Letter) -> EmailMessage:
    """Write the mail. Raises `ValueError` for an address that no header can hold."""
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = server.sender
    user, _, domain = letter.to.rpartition("@")
    message["To"] = Address(username=user, domain=domain)  # letters of any script in both
    message["Subject"] = " ".join(letter.subject.split())
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(server.sender)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # so that no holiday notice answers it
    message.set_content(letter.text)
    return message


def _connect(server: MailServer) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        if server.user is not None:
            connection.login(server.user, server.password or "")
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
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server lacks what SMTP_SECURITY or the address asks for."
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered with {error.smtp_code}."
    if isinstance(error, ValueError):
        return "it is not an address that mail can be sent to."
    return "the mail server does not answer."
