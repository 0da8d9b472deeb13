"""The round of payments: charges, refunds and invoices that are due, and messages to apply.

Run by the web process, where the provider's settings and the mail server are; the repair loop of
jobs must not wait for a provider. Every step decides by rows under a lock, so that several web
processes do each thing once. Each question that went unanswered is asked again under its own key.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from licensing import seats
from licensing.db import now
from licensing.errors import AtelierError
from licensing.payments import apply, events, notices, subscriptions, top_ups
from licensing.payments import invoices as invoice_rows
from licensing.payments.tables import PaymentNotice
from licensing.seats import Page, Status
from webapp import mail
from webapp.mail import MailNotSent
from webapp.payments import automatic, intake, invoices, provider, refunds
from webapp.payments import seats as seat_orders
from webapp.studio import Studio

ROUND_SECONDS = 5.0
CATCH_UP_ROUNDS = 60  # every five minutes: messages that never came are asked for
CATCH_UP_FIRST_ROUND = 12  # a minute after a start: those that came while nobody listened
CATCH_UP_OVERLAP = timedelta(hours=1)  # the provider's list may be late by minutes
CATCH_UP_FIRST = timedelta(days=3)  # as long as it goes on trying to bring a message itself
PAGE_FORGOTTEN = timedelta(days=3)  # the provider's page is open for a day
CATCH_UP_MAX = 10_000  # events in one look: far more than five minutes bring

log = logging.getLogger("atelier.payments")


async def keep_paying(studio: Studio) -> None:
    """Do what is due, for as long as the process runs; a round that has begun is finished."""
    number = 0
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        looks_back = (
            studio.settings.payments is not None
            and number % CATCH_UP_ROUNDS == CATCH_UP_FIRST_ROUND
        )
        working = asyncio.ensure_future(run_in_threadpool(_round, studio, looks_back=looks_back))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await working  # its connections go back before the database is closed
            raise
        number += 1


def _round(studio: Studio, *, looks_back: bool) -> None:
    try:
        run_due(studio)
        if looks_back:
            catch_up(studio)
    except (OperationalError, InterfaceError) as error:
        log.warning("payments wait for the database: %s", error)
    except AtelierError as error:  # the provider is away: the next round asks again
        log.warning("payments wait: %s", error.message)
    except (SQLAlchemyError, *intake.UNREADABLE):  # one bad row must not end all rounds, unheard
        log.exception("a round of payments broke off")


def run_due(studio: Studio, at: datetime | None = None) -> None:
    """Do everything that is due as of `at` (default: now), each step for itself."""
    moment = at or now()
    intake.apply_due(studio.database)
    with studio.database.transaction() as session:
        notices.compare_balances(session, moment)
        top_ups.expire_left(session, moment - PAGE_FORGOTTEN)
        invoice_rows.mark_overdue(session, moment)  # locks wallets, which come last
    send_notices(studio)
    if studio.settings.payments is not None:
        for step in (automatic.ask_again, automatic.charge_due, refunds.ask_again):
            step(studio, moment)
        invoices.ask_again(studio, moment)
        invoices.bill_due(studio, moment)
        _read_subscriptions(studio)


def catch_up(studio: Studio) -> int:
    """Ask the provider for messages that never came, and apply them; return how many."""
    with studio.database.read() as session:
        newest = events.latest(session)
    since = (newest - CATCH_UP_OVERLAP) if newest else now() - CATCH_UP_FIRST
    question: Any = {"created": {"gte": int(since.timestamp())}, "limit": 100}
    found: dict[str, Any] = {}
    with provider.answers():
        pages = provider.connect(studio).v1.events.list(question)
        for event in islice(pages.auto_paging_iter(), CATCH_UP_MAX):
            if event.type in apply.HANDLERS:
                found[event.id] = provider.plain(event)
    with studio.database.read() as session:
        missing = events.unknown(session, found)
    for event_id in reversed(missing):  # the provider lists the newest first
        intake.receive(studio.database, found[event_id])
    return len(missing)


def send_notices(studio: Studio) -> int:
    """Mail open notices to owners and finance, once; without a mail server pages show them."""
    if studio.settings.mail is None:
        return 0
    with studio.database.transaction() as session:
        taken = notices.take_unmailed(session)
        letters = [(notice, _payers(session, notice)) for notice in taken]
    for notice, addresses in letters:
        for address in addresses:
            _send(studio, notice, address)
    return len(letters)


def _send(studio: Studio, notice: PaymentNotice, address: str) -> None:
    text = f"{notice.sentence}\n\n{studio.settings.url}/finance\n"
    try:
        mail.send(studio.settings.mail, to=address, subject="Atelier: your balance", text=text)
    except MailNotSent as error:
        log.warning("a notice was not mailed: %s", error.message)


def _payers(session: Any, notice: PaymentNotice) -> list[str]:
    return [
        member.email
        for member in seats.members(session, notice.organisation_id)
        if member.status == Status.ACTIVE and seats.may(member.role, Page.FINANCE)
    ]


def _read_subscriptions(studio: Studio) -> None:
    with studio.database.read() as session:
        unclear = subscriptions.to_read(session)
    for subscription_id in unclear:
        seat_orders.read_again(studio, subscription_id)
