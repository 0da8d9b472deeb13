"""One movement of money between two accounts of an organisation, found again by its key.

For the verbs that are seldom: they lock the wallet, look for the key, check, and post.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing.errors import Conflict
from licensing.ledger import statements
from licensing.ledger.tables import Transfer
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
    key: str
    author_id: uuid.UUID | None
    note: str
    origin_id: int | None = None


def post(session: Session, entry: Entry) -> Transfer:
    """Move it. The wallet's lock is ours."""
    made: Transfer = session.scalars(
        select(Transfer).from_statement(statements.POST), vars(entry)
    ).one()
    return made


def posted(session: Session, entry: Entry) -> Transfer | None:
    """Return the transfer that was made under this key before, if one was.

    Raises `Conflict` if it was another movement: another amount, direction or origin.
    """
    if not 1 <= len(entry.key) <= KEY_CHARACTERS_MAX + len(entry.kind) + 1:
        raise InvalidEntry(f"A movement of money needs a key of 1 to {KEY_CHARACTERS_MAX}.")
    if len(entry.note) > NOTE_CHARACTERS_MAX:
        raise InvalidEntry(f"A note has at most {NOTE_CHARACTERS_MAX} characters.")
    query = select(Transfer).where(
        Transfer.organisation_id == entry.organisation_id, Transfer.key == entry.key
    )
    made = session.scalars(query).one_or_none()
    if made is None:
        return None
    if (made.amount_micros, made.origin_id) != (entry.amount_micros, entry.origin_id):
        raise Conflict(
            "This was done already under the same key, with another amount: "
            f"{format_usd(made.amount_micros)}."
        )
    return made
