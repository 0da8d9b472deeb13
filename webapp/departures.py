"""What becomes of the pictures of somebody who left: handed on, taken out as a file, or erased.

`webapp.account` has ended the person's access by then, at once; this is the slow part, and an
admin chooses it. Each verb works in parts, one transaction each, and may be called again after a
crash: it goes on where it was. Files are deleted after the commit that forgets them; those that a
crash leaves are removed by `inference.orphans`. Money is touched by none of it. Called by the team
page.
"""

import uuid
from collections.abc import Iterator

from inference import estates
from inference.estates import Estate
from inference.generations import Generation
from licensing import actors, chain, departures
from licensing.actors import Actor
from licensing.errors import Conflict
from licensing.seats import Member
from webapp.picture_archive import archive
from webapp.studio import Studio


def left_behind(studio: Studio, actor: Actor, member_id: uuid.UUID) -> Estate:
    """Say how many pictures a departed member left. Raises as `hand_on` does."""
    with studio.database.transaction() as session:
        member = departures.departed(session, actor, member_id)
        return estates.measure(session, member.id)


def hand_on(studio: Studio, actor: Actor, member_id: uuid.UUID, heir_id: uuid.UUID) -> int:
    """Give all finished generations to a colleague; return how many went.

    The member must be suspended or removed, the colleague active. Raises `NotFound`, `Conflict`,
    `NotAllowed`. Bills keep saying who made them.
    """
    count = 0
    while True:
        with studio.database.transaction() as session:
            member = departures.departed(session, actor, member_id)
            heir = departures.heir(session, member, heir_id)
            moved = estates.hand_on(session, member.id, heir.id)
            count += moved
            if moved < estates.PART_MAX:
                words = f"{count} to {heir.name}"
                actors.record(session, actor, "pictures_handed_on", member=member, detail=words)
                return count


def export(studio: Studio, actor: Actor, member_id: uuid.UUID) -> tuple[Member, Iterator[bytes]]:
    """Return a departed member and their pictures as a ZIP file, made while it is read.

    It is asked at each part whether the actor still may: a file of many gigabytes must not outlive
    its reader's rights. Raises `NotFound`, `Conflict`, `NotAllowed`.
    """
    with studio.database.transaction() as session:
        member = departures.departed(session, actor, member_id)
        actors.record(session, actor, "pictures_exported", member=member)

    def parts() -> Iterator[list[Generation]]:
        after = None
        while True:
            with studio.database.transaction() as session:
                departures.departed(session, actor, member_id)
                part = estates.page(session, member_id, after)
            if not part:
                return
            yield list(part)
            after = (part[-1].created_at, part[-1].id)

    return member, archive(studio.storage, parts)


def erase(studio: Studio, actor: Actor, member_id: uuid.UUID) -> int:
    """Erase a removed member's pictures, prompts, name and address; return how many pictures went.

    What they wrote goes out of the records of moderation, too, but for locked evidence.
    Generations, usage lines and the ledger keep their rows, and bills the name that they were
    written with. Raises `NotFound`, `NotAllowed`, and `Conflict` for who is not removed or has a
    job that has not stopped yet.
    """
    count = 0
    while True:
        with studio.database.transaction() as session:
            member = departures.removed(session, actor, member_id)
            if estates.in_flight(session, member.id):
                raise Conflict("A job of theirs is still stopping. Try again in a moment.")
            erased = estates.erase(session, member.id)
            count += erased.pictures
            is_last = erased.generations < estates.PART_MAX
            if is_last:
                words = f"{count} pictures"
                actors.record(session, actor, "pictures_erased", member=member, detail=words)
                chain.forget(session, member.organisation_id, member.id)
                departures.forget(session, actor, member)
        for key in erased.keys:
            studio.storage.delete(key)
        if is_last:
            return count
