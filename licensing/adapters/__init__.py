"""A team's LoRAs: who brought which file, what the safety desk said of it, and who may use it.

Owns the tables `adapter` and the append-only `adapter_change`. What must hold: a file that the
desk has not passed is in no picture; a file that was refused once stays refused, also when it is
removed and brought again; every judgement and every removal is a row of the log. Where the files
lie is `inference.adapter_files`; who draws the grid is `inference.probe`.

    tables   the two tables        bringing who may bring a file, and what of it is kept
    probing  the check, its end, and what a reviewer says to it
    shelf    seen, named, removed  choosing which of them a picture can be made with
"""

from licensing.adapters.bringing import (
    COUNT_MAX,
    TRIGGERS_CHARACTERS_MAX,
    Brought,
    TriggersRefused,
    bring,
    may_bring,
    open_to,
    opened_to_all,
    require_room,
    require_words,
)
from licensing.adapters.choosing import AdapterNotReady, choose, named, require_ready
from licensing.adapters.probing import (
    ATTEMPTS_MAX,
    PROBE_SECONDS_MAX,
    claim,
    decide,
    judge,
    postpone,
    take_waiting,
)
from licensing.adapters.shelf import (
    NAME_CHARACTERS_MAX,
    access,
    destroy,
    find,
    is_kept,
    lock_file,
    remove,
    rename,
    shelf,
    withdraw,
)
from licensing.adapters.tables import Adapter, AdapterChange, State

__all__ = [
    "ATTEMPTS_MAX",
    "COUNT_MAX",
    "NAME_CHARACTERS_MAX",
    "PROBE_SECONDS_MAX",
    "TRIGGERS_CHARACTERS_MAX",
    "Adapter",
    "AdapterChange",
    "AdapterNotReady",
    "Brought",
    "State",
    "TriggersRefused",
    "access",
    "bring",
    "choose",
    "claim",
    "decide",
    "destroy",
    "find",
    "is_kept",
    "judge",
    "lock_file",
    "may_bring",
    "named",
    "open_to",
    "opened_to_all",
    "postpone",
    "remove",
    "rename",
    "require_ready",
    "require_room",
    "require_words",
    "shelf",
    "take_waiting",
    "withdraw",
]
