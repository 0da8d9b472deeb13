"""A LoRA chosen for a picture: found by its id or its file, and only if the desk has passed it."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing.adapters.tables import Adapter
from licensing.errors import AtelierError

SENTENCES = {
    "checking": "is still being checked",
    "review": "waits for a reviewer",
    "refused": "was refused by the safety desk",
    "removed": "was removed from the team’s LoRAs",  # noqa: RUF001
}


class AdapterNotReady(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A LoRA that was chosen cannot be used; the sentence names it."""

    code = "adapter_not_ready"
    status = 422


def named(session: Session, organisation_id: uuid.UUID, sha256s: Sequence[str]) -> dict[str, str]:
    """Return what a team calls its files, also those that were removed."""
    if not sha256s:
        return {}
    rows = session.execute(
        select(Adapter.sha256, Adapter.name).where(
            Adapter.organisation_id == organisation_id, Adapter.sha256.in_(sha256s)
        )
    )
    return {row.sha256: row.name for row in rows}


def choose(session: Session, organisation_id: uuid.UUID, wanted: str, family: str) -> Adapter:
    """Return the LoRA that a request means by its id or SHA-256, if it can be used.

    Raises `AdapterNotReady`.
    """
    own = Adapter.organisation_id == organisation_id
    try:
        found = session.scalar(select(Adapter).where(own, Adapter.id == uuid.UUID(wanted)))
    except ValueError:
        found = session.scalar(select(Adapter).where(own, Adapter.sha256 == wanted))
    if found is None:
        raise AdapterNotReady("The team has no such LoRA. Choose from those on the list.")
    if found.state != "ready":
        raise AdapterNotReady(f"The LoRA “{found.name}” {SENTENCES[found.state]}.")
    if found.family != family:
        raise AdapterNotReady(f"The LoRA “{found.name}” was made for other models than this one.")
    return found


def require_ready(
    session: Session, organisation_id: uuid.UUID, sha256s: Sequence[str], family: str
) -> None:
    """Ask again before the device works: a LoRA may have gone while its job waited."""
    for sha256 in sha256s:
        choose(session, organisation_id, sha256, family)
