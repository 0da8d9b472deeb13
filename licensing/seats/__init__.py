"""Who belongs to an organisation, in which role, and who holds one of its seats.

Owns the tables `organisation` and `member`. What must hold: seats taken, which are seated members
plus pending invites that carry a seat, never exceed the ceiling. Every change takes the
organisation's row lock first and counts after it, so that two admins at two desks cannot both hand
out the last seat. `licensing.roster` holds the admins' verbs, `licensing.invites` and
`licensing.arrivals` the way in; all write members through this package.

    roles    roles, pages, states       ceiling  how many seats are taken, and no more
    people   the tables, and finding    changes  the lock, joining, the history
"""

from licensing.seats.ceiling import (
    NoSeat,
    SeatCeilingReached,
    SeatUsage,
    require_seat,
    require_seat_left,
    seat_usage,
)
from licensing.seats.changes import (
    SEATS_BUSINESS,
    add_member,
    create_organisation,
    join,
    lock,
    lock_person,
    record,
)
from licensing.seats.people import (
    NAME_CHARACTERS_MAX,
    Identity,
    Member,
    Organisation,
    asking,
    find_member,
    find_organisation,
    get_member,
    get_organisation,
    members,
)
from licensing.seats.roles import (
    Page,
    Role,
    Status,
    may,
)

__all__ = [
    "NAME_CHARACTERS_MAX",
    "SEATS_BUSINESS",
    "Identity",
    "Member",
    "NoSeat",
    "Organisation",
    "Page",
    "Role",
    "SeatCeilingReached",
    "SeatUsage",
    "Status",
    "add_member",
    "asking",
    "create_organisation",
    "find_member",
    "find_organisation",
    "get_member",
    "get_organisation",
    "join",
    "lock",
    "lock_person",
    "may",
    "members",
    "record",
    "require_seat",
    "require_seat_left",
    "seat_usage",
]
