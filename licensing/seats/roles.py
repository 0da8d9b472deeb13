"""What a member is to the organisation, where a membership stands, and which page a role opens."""

from enum import StrEnum


class Role(StrEnum):
    """What a member is to the organisation; whether they may generate is `Member.seated`."""

    OWNER = "owner"
    ADMIN = "admin"
    CREATOR = "creator"
    FINANCE = "finance"
    REVIEWER = "reviewer"


class Page(StrEnum):
    """The pages of the studio, one a task."""

    CREATE = "create"
    TEAM = "team"
    FINANCE = "finance"
    REVIEW = "review"


class Status(StrEnum):
    """Where a membership stands. A suspended member keeps the seat until it is revoked."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


READERS = {
    Page.CREATE: frozenset(Role),
    Page.TEAM: frozenset({Role.OWNER, Role.ADMIN}),
    Page.FINANCE: frozenset({Role.OWNER, Role.FINANCE}),
    Page.REVIEW: frozenset({Role.OWNER, Role.REVIEWER}),
}


def may(role: Role | str, page: Page | str) -> bool:
    """Say whether a role opens a page."""
    return Role(role) in READERS[Page(page)]
