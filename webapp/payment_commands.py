"""What the operator sees and repeats of the provider's messages: `atelier payments`.

Called through `webapp.operator_commands`; the words stand in `webapp.operator_words`.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from licensing.db import Database
from licensing.payments import events
from licensing.payments.tables import PaymentEvent

SHOWN_MAX = 50  # more than fit a screen

Lines = list[str]
Command = Callable[[argparse.Namespace, Database, Path], Lines]


def payments(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """List messages of the provider, or apply what is not applied yet."""
    if chosen.action == "replay":
        return _replay(database, chosen.event)
    with database.read() as session:
        found = events.find(session, limit=SHOWN_MAX, only_open=not chosen.all)
    if not found:
        return ["Every message of the provider has been applied."]
    return [_line(event) for event in found]


def _replay(database: Database, event_id: str | None) -> Lines:
    from webapp.payments.intake import replay  # noqa: PLC0415 - loads the provider's SDK

    done = replay(database, event_id)
    return [f"{name}: {status}" for name, status in done] or ["There is nothing to apply."]


def _line(event: PaymentEvent) -> str:
    why = f" - {event.error}" if event.error else ""
    return f"{event.created:%Y-%m-%d %H:%M:%S} {event.id} {event.type} {event.status}{why}"


COMMANDS: Mapping[str, Command] = {"payments": payments}
