"""What the operator does to balances by the command: adjust, grant, credit, freeze, refund.

Each function gets the parsed words and a database, calls one verb of the ledger and returns the
lines to print. The operator is no member: the login stands in the movement's reason.
"""

import argparse
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from licensing import ledger, seats
from licensing.db import Database
from licensing.errors import Conflict, NotFound
from licensing.money import format_usd, parse_usd
from licensing.seats import Organisation

LOTS_SHOWN_MAX = 50  # more than fit a screen; the page lists all

Lines = list[str]
Command = Callable[[argparse.Namespace, Database, Path], Lines]


def balance(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Show what an organisation has, by lot."""
    with database.read() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        return [_standing(session, organisation), *_lots(session, organisation)]


def adjust(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Put a balance right, up or down."""
    is_down = chosen.amount.startswith("-")
    amount_micros = parse_usd(chosen.amount.removeprefix("-"))
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        ledger.adjust(
            session,
            organisation.id,
            -amount_micros if is_down else amount_micros,
            key=_key(chosen),
            author_id=None,
            reason=_reason(chosen),
        )
        return [_standing(session, organisation)]


def grant(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Give promotional money, until the end of a day or without an end."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        ledger.grant(
            session,
            organisation.id,
            parse_usd(chosen.amount),
            key=_key(chosen),
            author_id=None,
            note=_reason(chosen),
            expires_at=_end_of(chosen.expires) if chosen.expires else None,
        )
        return [_standing(session, organisation)]


def credit_limit(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Set how far a balance may go below zero."""
    amount_micros = parse_usd(chosen.amount) if chosen.amount.strip("0.$") else 0
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        ledger.set_credit_limit(
            session, organisation.id, amount_micros, author_id=None, reason=_reason(chosen)
        )
        return [_standing(session, organisation)]


def freeze(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Stop new work; people read the reason."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        ledger.freeze(session, organisation.id, chosen.reason, author_id=None)
        return [_standing(session, organisation)]


def unfreeze(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Let new work begin again, unless a dispute or an invoice stands against it."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        lifted = ledger.unfreeze(session, organisation.id, author_id=None, reason=_reason(chosen))
        left = ledger.balance(session, organisation.id).frozen_reason
        if left is not None and not lifted:
            raise Conflict(
                f"Nothing was lifted: {left}. That ends by itself, when the bank has decided or "
                "the invoice is paid."
            )
        return [_standing(session, organisation)]


def refund_generation(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Give a charge back into the lots that paid it."""
    with database.transaction() as session:
        try:
            generation_id = uuid.UUID(chosen.generation)
        except ValueError as error:
            raise NotFound("A generation's id is a UUID; finance's page shows it.") from error
        if chosen.amount is None:
            borne = ledger.spends_of(session, generation_id)
            amount_micros = sum(spend.amount_micros for spend in borne)
            if amount_micros == 0:
                raise NotFound("Nothing is charged for this generation any more.")
        else:
            amount_micros = parse_usd(chosen.amount)
        made = ledger.refund_generation(
            session,
            generation_id,
            amount_micros,
            key=_key(chosen),
            author_id=None,
            reason=_reason(chosen),
        )
        wallet = ledger.balance(session, made.organisation_id)
    given, left = format_usd(made.amount_micros), format_usd(wallet.settled_micros)
    return [f"Given back: {given}. The balance is {left}."]


COMMANDS: Mapping[str, Command] = {
    "balance": balance,
    "adjust": adjust,
    "grant": grant,
    "credit-limit": credit_limit,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "refund-generation": refund_generation,
}


def _standing(session: Session, organisation: Organisation) -> str:
    wallet = ledger.balance(session, organisation.id)
    told = (
        f"{organisation.name}: {format_usd(wallet.settled_micros)} settled, "
        f"{format_usd(wallet.held_micros)} held, {format_usd(wallet.available_micros)} available"
    )
    if wallet.credit_limit_micros:
        told += f", {format_usd(wallet.credit_limit_micros)} credit limit"
    frozen = wallet.frozen_reason
    return f"{told}; frozen: {frozen.rstrip('.')}." if frozen is not None else f"{told}."


def _lots(session: Session, organisation: Organisation) -> Lines:
    return [
        f"  {lot.kind}, {lot.created_at:%Y-%m-%d}: {format_usd(lot.remaining_micros)} of "
        f"{format_usd(lot.amount_micros)} left"
        + (f", until {lot.expires_at:%Y-%m-%d %H:%M} UTC" if lot.expires_at else "")
        for lot in ledger.lots(session, organisation.id, limit=LOTS_SHOWN_MAX, open_only=True)
    ]


def _key(chosen: argparse.Namespace) -> str:
    return str(chosen.key or uuid.uuid4())


def _reason(chosen: argparse.Namespace) -> str:
    return f"{chosen.reason.strip()} ({chosen.by})" if chosen.reason.strip() else ""


def _end_of(day: str) -> datetime:
    """Read a day; what is given until then ends with it. Raises `NotFound` for what is none."""
    try:
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
        return start + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise NotFound(f"There is no day {day[:20]!r}; write 2027-12-31.") from error
