"""A mail server and a name server on loopback, for tests that send real mail and ask real DNS."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from running import free_port


@dataclass
class PostOffice:
    """Takes every letter but those to `refused` addresses; `hang_up_after` letters it goes away."""

    port: int = field(default_factory=free_port)
    letters: list[EmailMessage] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    hang_up_after: int | None = None

    async def handle_RCPT(  # noqa: N802 - the library's name
        self,
        server: SMTP,
        session: Session,  # noqa: ARG002 - as above
        envelope: Envelope,
        address: str,
        options: list[str],  # noqa: ARG002 - as above
    ) -> str:
        if address in self.refused:
            return "550 nobody here has that name"
        if self.hang_up_after is not None and len(self.letters) >= self.hang_up_after:
            assert server.transport is not None
            server.transport.close()
            await asyncio.sleep(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        read = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(read, EmailMessage)
        self.letters.append(read)
        return "250 taken"

    def check(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, given: object
    ) -> AuthResult:
        is_right = isinstance(given, LoginPassword) and given.password == b"right"
        return AuthResult(success=is_right, handled=False)


@contextmanager
def post_office(**changes: object) -> Iterator[PostOffice]:
    """Run a mail server for the length of the block."""
    office = PostOffice(**changes)  # type: ignore[arg-type]
    controller = Controller(
        office,
        hostname="127.0.0.1",
        port=office.port,
        authenticator=office.check,
        auth_require_tls=False,
        enable_SMTPUTF8=True,
    )
    controller.start()
    try:
        yield office
    finally:
        controller.stop()


@contextmanager
def name_server(records: dict[str, list[str]], *, is_broken: bool = False) -> Iterator[str]:
    """Answer TXT questions for the length of the block; gives `address:port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.1)
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                try:
                    packet, client = sock.recvfrom(4096)
                except TimeoutError:
                    continue
                sock.sendto(_answer(packet, records, is_broken=is_broken), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            stopping.set()
            thread.join()


def _answer(packet: bytes, records: dict[str, list[str]], *, is_broken: bool) -> bytes:
    question = dns.message.from_wire(packet)
    answer = dns.message.make_response(question)
    asked = question.question[0]
    found = records.get(asked.name.to_text(omit_final_dot=True))
    if is_broken:
        answer.set_rcode(dns.rcode.SERVFAIL)
    elif found is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif found:
        quoted = [" ".join(f'"{part}"' for part in _parts(value)) for value in found]
        answer.answer.append(
            dns.rrset.from_text_list(asked.name, 60, "IN", dns.rdatatype.TXT, quoted)
        )
    return answer.to_wire()


def _parts(value: str) -> list[str]:
    """Cut a record as providers do: a part holds at most 255 bytes, often fewer."""
    return [value[at : at + 30] for at in range(0, len(value), 30)]
