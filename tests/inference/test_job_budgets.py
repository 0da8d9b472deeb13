"""What a job counts in its member's budget, whichever way it ends."""

import uuid
from datetime import timedelta

from jobs import Desk
from sqlalchemy import text

from inference import lifecycle
from inference.generations import Generation
from inference.lifecycle import Made
from inference.repairs import ATTEMPTS_MAX
from inference.sweep import STALE_AFTER, sweep
from licensing import budget_limits, budgets, ledger, roster
from licensing.audit import audit
from licensing.db import now

PICTURE_MICROS = 15_000


def counted(desk: Desk) -> tuple[int, int]:
    """The pictures used and held in the member's budget of the month."""
    with desk.database.transaction() as session:
        budget_limits.set_budget(
            session,
            desk.team.admin,
            scope="member",
            subject_id=desk.member.id,
            period="month",
            limit_micros=1_000_000,
        )
    with desk.database.read() as session:
        assert audit(session) == []
        (standing,) = budgets.budgets_of(session, member_id=desk.member.id)
    return standing.used_micros // PICTURE_MICROS, standing.held_micros // PICTURE_MICROS


def claim(desk: Desk, job: Generation) -> Generation:
    with desk.database.transaction() as session:
        claimed = lifecycle.claim(session, job.id, "w1")
    assert claimed is not None
    return claimed


def made(index: int, *, refused: bool = False) -> Made:
    return Made(
        id=uuid.uuid4(),
        index=index,
        seed=index,
        key="k",
        thumbnail_key="t",
        sha256="0" * 64,
        refused=refused,
    )


def test_delivered_pictures_are_used_and_the_others_are_free_again(desk: Desk) -> None:
    claimed = claim(desk, desk.queue(images=4))
    assert counted(desk) == (0, 4)
    pictures = [made(0), made(1, refused=True), made(2), made(3)]
    with desk.database.transaction() as session:
        assert lifecycle.finish(session, claimed, pictures)
    assert counted(desk) == (3, 0)


def test_what_is_cancelled_failed_or_refused_uses_nothing(desk: Desk) -> None:
    waiting, failing, refused = desk.queue(), desk.queue(), desk.queue(images=2)
    running = [claim(desk, job) for job in (failing, refused)]
    assert counted(desk) == (0, 4)
    with desk.database.transaction() as session:
        lifecycle.request_cancel(session, desk.member, waiting.id)
    assert counted(desk) == (0, 3)
    with desk.database.transaction() as session:
        assert lifecycle.fail(session, running[0], code="engine", message="It broke.")
    with desk.database.transaction() as session:
        assert lifecycle.refuse(session, running[1], code="content", message="No.")
    assert counted(desk) == (0, 0)


def test_a_removed_member_leaves_nothing_held(desk: Desk) -> None:
    for images in (1, 2, 3):
        desk.queue(images=images)
    assert counted(desk) == (0, 6)
    with desk.database.transaction() as session:
        roster.suspend(session, desk.team.owner, desk.member.id)
        assert lifecycle.cancel_all(session, desk.member.id) == 3
    assert counted(desk) == (0, 0)
    assert desk.balance().held_micros == 0


def test_a_killed_worker_holds_the_budget_until_the_sweep_gives_it_back(desk: Desk) -> None:
    job = desk.queue(images=2)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        assert claim(desk, job).attempts == attempt
        assert counted(desk) == (0, 2)
        sweep(desk.database, lambda *_: None, now() + 2 * STALE_AFTER)
    assert desk.read(job.id).state == "failed"
    assert counted(desk) == (0, 0)


def test_the_sweep_finishes_what_a_killed_sweep_began(desk: Desk) -> None:
    """A hold expires and the sweep dies before it has failed the job and freed its budget."""
    job = desk.queue()
    with desk.database.transaction() as session:
        assert ledger.expire_holds(session, now() + timedelta(days=2)) == [job.id]
    assert desk.read(job.id).state == "queued"
    assert counted(desk) == (0, 1)
    sweep(desk.database, lambda *_: None, now())
    assert desk.read(job.id).error_code == "hold_expired"
    assert counted(desk) == (0, 0)


def test_a_reservation_without_its_hold_is_freed_even_if_the_job_ended(desk: Desk) -> None:
    """The row was ended by a release of this program that knew no budgets."""
    job = desk.queue()
    with desk.database.transaction() as session:
        session.execute(
            text("UPDATE generation SET state = 'cancelled' WHERE id = :id"), {"id": job.id}
        )
        assert ledger.release(session, job.id, "cancelled")
    sweep(desk.database, lambda *_: None, now())
    assert counted(desk) == (0, 0)
