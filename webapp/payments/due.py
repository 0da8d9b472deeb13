"""The round of payments: charges, refunds and invoices that are due, and messages to apply.

Run by the web process, where the provider's settings and the mail server are; the repair loop of
jobs must not wait for a provider. Every step decides by rows under a lock, so that several web
processes do each thing once. Each question that went unanswered is asked again under its own key.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from licensing import seats
from licensing.db import Database, now
from licensing.payments import apply, events, notices, subscriptions, top_ups
from licensing.payments.tables import PaymentNotice
from licensing.seats import Page, Status
from webapp import mail
from webapp.mail import MailNotSent
from webapp.payments import automatic, intake, invoices, provider, refunds, turns
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
            turns.attempt("messages that never came", partial(catch_up, studio))
    except (OperationalError, InterfaceError) as error:
        log.warning("payments wait for the database: %s", error)


def run_due(studio: Studio, at: datetime | None = None) -> list[str]:
    """Do everything that is due as of `at` (default: now); return the steps that broke off.

    Each step is done whatever became of those before it, and in a step each organisation has its
    turn: a row that one of them cannot digest comes again every round. Where the database is away,
    its error ends the round.
    """
    moment = at or now()
    database = studio.database
    steps: dict[str, Callable[[], object]] = {
        "messages": partial(intake.apply_due, database),
        "low balances": partial(_write, database, notices.compare_balances, moment),
        "pages left": partial(_write, database, top_ups.expire_left, moment - PAGE_FORGOTTEN),
        "overdue invoices": partial(invoices.tell_overdue, studio, moment),
        "notices": partial(send_notices, studio),
    }
    if studio.settings.payments is not None:
        steps |= {
            "charges without an answer": partial(automatic.ask_again, studio, moment),
            "charges": partial(automatic.charge_due, studio, moment),
            "refunds": partial(refunds.ask_again, studio, moment),
            "invoices without an answer": partial(invoices.ask_again, studio, moment),
            "invoices": partial(invoices.bill_due, studio, moment),
            "subscriptions": partial(_read_subscriptions, studio),
        }
    return [name for name, step in steps.items() if not turns.attempt(name, step)]


def _write(
    database: Database, verb: Callable[[Session, datetime], object], moment: datetime
) -> None:
    with database.transaction() as session:
        verb(session, moment)


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
    turns.each(unclear, partial(seat_orders.read_again, studio))
