"""A kernel is tried before anybody relies on it: what cannot run here is left out, and said."""

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


def runs(trial: Callable[[], bool], otherwise: str) -> bool:
    """Whether `trial` returns true; if not, or if it raises, the log says what is done `otherwise`.

    Anything may be raised: there is no Triton, no C compiler, or a card that neither knows.
    """
    try:
        agrees = trial()
    except Exception:  # noqa: BLE001 - see above
        _log.exception("A kernel does not run here: %s", otherwise)
        return False
    if not agrees:
        _log.error("A kernel gives other numbers here: %s", otherwise)
    return agrees
