"""Everybody's turn: one organisation's fault ends its own part of a round, and nobody else's."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from licensing.errors import AtelierError
from webapp.payments.intake import UNREADABLE
from webapp.payments.provider import ProviderAway

_Item = TypeVar("_Item")

log = logging.getLogger("atelier.payments")


class TurnsMissed(AtelierError):  # noqa: N818 - says what happened
    """Some of a step's items broke off; the others were done."""

    code = "turns_missed"


def attempt(name: str, step: Callable[[], object]) -> bool:
    """Take one step; say in the log if it broke off. Only a database that is away ends a round."""
    try:
        step()
    except (OperationalError, InterfaceError):
        raise
    except AtelierError as error:  # the provider is away: the next round asks again
        log.warning("payments (%s) wait: %s", name, error.message)
        return False
    except (SQLAlchemyError, *UNREADABLE):  # one bad row must not end all rounds, unheard
        log.exception("a step of payments broke off: %s", name)
        return False
    return True


def each(items: Iterable[_Item], verb: Callable[[_Item], object]) -> int:
    """Give every item its turn, whatever became of those before it; return how many there were.

    Raises `TurnsMissed` at the end if some broke off. `ProviderAway` ends the step at once, since
    each such turn lasts as long as a time-out; the next round begins with others.
    """
    taken = missed = 0
    for item in items:
        taken += 1
        try:
            verb(item)
        except (OperationalError, InterfaceError, ProviderAway):
            raise
        except (SQLAlchemyError, *UNREADABLE):
            log.exception("broke off at %s", item)
            missed += 1
    if missed:
        raise TurnsMissed(f"{missed} of {taken} broke off; the others had their turn.")
    return taken
