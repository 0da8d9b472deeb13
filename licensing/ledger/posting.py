"""One movement of money between two accounts of an organisation, found again by its key.

For the verbs that are seldom: they lock the wallet, look for the key, check, and post.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing.errors import Conflict
from licensing.ledger import statements
from licensing.ledger.tables import Account, Transfer
from licensing.ledger.wallet import KEY_CHARACTERS_MAX, NOTE_CHARACTERS_MAX, InvalidEntry
from licensing.money import format_usd


@dataclass(frozen=True)
class Entry:
    """What is to be moved: `source` and `destination` are kinds of account, one of them wallet."""

    organisation_id: uuid.UUID
    kind: str
    source: str
    destination: str
    amount_micros: int
    key: str  # the caller's; it is kept as `kind:key`, so that kinds cannot meet
    author_id: uuid.UUID | None
    note: str
    origin_id: int | None = None


def post(session: Session, entry: Entry) -> Transfer:
    """Write it and move it. The wallet's lock is ours, and nothing was posted under this key."""
    made = enter(session, entry)
    move(session, made)
    return made


def enter(session: Session, entry: Entry) -> Transfer:
    """Write it down; the wallet is neither changed nor locked yet."""
    values = {**vars(entry), "key": stored_key(entry.kind, entry.key)}
    made: Transfer = session.scalars(
        select(Transfer).from_statement(statements.ENTER), values
    ).one()
    return made


def move(session: Session, made: Transfer) -> None:
    """Change the wallet by what was written down; locks it."""
    session.execute(statements.MOVE, {"transfer_id": made.id})


def posted(session: Session, entry: Entry) -> Transfer | None:
    """Return the transfer that was made under this key before, if one was.

    Raises `InvalidEntry` for an unusable key or note, and `Conflict` if another movement was made
    under the key: another amount, direction or origin.
    """
    if len(entry.note) > NOTE_CHARACTERS_MAX:
        raise InvalidEntry(f"A note has at most {NOTE_CHARACTERS_MAX} characters.")
    query = (
        select(Transfer, Account.kind)
        .join(Account, Account.id == Transfer.source_id)
        .where(
            Transfer.organisation_id == entry.organisation_id,
            Transfer.key == stored_key(entry.kind, entry.key),
            Transfer.kind == entry.kind,
            Transfer.kind != "settle",  # lets the index of these keys be used
        )
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    made, source = found
    first = (made.amount_micros, made.origin_id, source)
    if first != (entry.amount_micros, entry.origin_id, entry.source):
        raise Conflict(
            "Another movement of money was made under the same key already: "
            f"{format_usd(made.amount_micros)}."
        )
    return made


def stored_key(kind: str, key: str) -> str:
    """Put the kind before the caller's key; raises `InvalidEntry` for a key that is none."""
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
        raise InvalidEntry(f"A movement of money needs a key of 1 to {KEY_CHARACTERS_MAX} letters.")
    return f"{kind}:{key}"
