"""The hourly round: a yearly statement that runs out soon, and domains whose DNS record is gone.

Run by the web process, where the mail server and the name servers are. Who reminds is decided by a
row, so that several processes send each letter once; without a mail server the pages say it.
"""

import asyncio
import logging
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from licensing import domain_proofs, licence_reminders, seats
from licensing.db import now
from licensing.seats import Role, Status
from webapp import dns, mail
from webapp.dns import DnsAway
from webapp.joining import is_for_show
from webapp.mail import MailNotSent
from webapp.studio import Studio

ROUND_SECONDS = 3_600.0

log = logging.getLogger("atelier.reminders")


async def keep_reminding(studio: Studio) -> None:
    """Remind every hour, for as long as the process runs; the first time after an hour."""
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        try:
            await run_in_threadpool(remind, studio)
        except SQLAlchemyError as error:
            log.warning("reminders wait for the database: %s", error)


def remind(studio: Studio, at: datetime | None = None) -> None:
    """Send what is due as of `at` (default: now)."""
    moment = at or now()
    remind_of_statement(studio, moment)
    recheck_domains(studio, moment)


def remind_of_statement(studio: Studio, at: datetime) -> None:
    """Tell the owners who can renew the statement under the model licence, once a statement."""
    with studio.database.transaction() as session:
        due = licence_reminders.take_reminder(session, at)
    if due is not None:
        text = f"{due.sentence}\n\nAfter that day nobody can generate until it is made again.\n"
        _tell(studio, due.addresses, "Atelier: the yearly statement", text, "/licence")


def recheck_domains(studio: Studio, at: datetime) -> None:
    """Look for the DNS records of proved domains, each once a day."""
    with studio.database.read() as session:
        due = domain_proofs.to_recheck(session, at)
    for domain in due:
        try:
            found = (
                [domain.record_value]
                if is_for_show(studio, domain)
                else dns.txt_records(domain.record_name, studio.settings.dns_servers)
            )
        except DnsAway:
            return  # nobody answers; that says nothing about any of them
        with studio.database.transaction() as session:
            warning = domain_proofs.rechecked(session, domain.id, found, at)
            people = seats.members(session, domain.organisation_id)
        admins = [
            member.email
            for member in people
            if member.role in (Role.OWNER, Role.ADMIN) and member.status == Status.ACTIVE
        ]
        if warning is not None:
            _tell(studio, admins, f"Atelier: {domain.domain}", warning, "/team?view=joining")


def _tell(studio: Studio, addresses: list[str], subject: str, text: str, place: str) -> None:
    log.warning("%s", text.strip())
    for address in addresses:
        try:
            body = f"{text}\n{studio.settings.url}{place}\n"
            mail.send(studio.settings.mail, to=address, subject=subject, text=body)
        except MailNotSent as error:
            log.warning("a reminder was not mailed: %s", error.message)
