"""From a verified message to its effect: recorded in one transaction, applied in the next.

Called by the webhook, by the round of what is due, and by `atelier payments replay`. A message that
cannot be applied keeps the reason and never stops the others.
"""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from licensing.db import Database, now
from licensing.errors import AtelierError
from licensing.payments import apply, events

UNREADABLE = (AtelierError, KeyError, TypeError, ValueError, AttributeError, OverflowError)

log = logging.getLogger("atelier.payments")


def receive(database: Database, event: Mapping[str, Any]) -> str:
    """Record a message and apply it; return its status. A second copy changes nothing."""
    with database.transaction() as session:
        events.record(session, event)
    return apply_event(database, event["id"])


def apply_event(database: Database, event_id: str, *, again: bool = False) -> str:
    """Apply a recorded message, once; return its status after that.

    `again` also takes up what was ignored. Where the database is away, its error goes on: the
    message stays recorded, and is applied by the next round.
    """
    try:
        with database.transaction() as session:
            return apply.apply(session, event_id, again=again)
    except (OperationalError, InterfaceError):
        raise
    except SQLAlchemyError as error:  # a constraint refused what the message would have written
        reason = str(getattr(error, "orig", None) or error).split("\n")[0]
    except UNREADABLE as error:
        reason = error.message if isinstance(error, AtelierError) else f"Unreadable: {error!r}."
    log.warning("payment event %s was not applied: %s", event_id, reason)
    with database.transaction() as session:
        events.fail(session, event_id, reason)
    return "failed"


def apply_due(database: Database) -> int:
    """Try again what is recorded and not applied; return how many there were."""
    with database.read() as session:
        due = events.due(session, now())
        rechecked = events.to_recheck(session, now())
    for event_id in due:
        apply_event(database, event_id)
    for event_id in rechecked:
        apply_event(database, event_id, again=True)
    return len(due)


def replay(database: Database, event_id: str | None = None) -> list[tuple[str, str]]:
    """Apply one message, or everything that is not applied yet; return ids with their status.

    Raises `NotFound` for an unknown id.
    """
    if event_id is not None:
        with database.transaction() as session:
            events.lock(session, event_id)
        return [(event_id, apply_event(database, event_id, again=True))]
    with database.read() as session:
        open_ids = [
            event.id for event in events.find(session, limit=events.REPLAY_MAX, only_open=True)
        ]
    return [(id_, apply_event(database, id_)) for id_ in reversed(open_ids)]
