"""The check of a LoRA: taken by a worker, ended by a judgement, begun again when a worker died.

A check is bounded: the third worker that it takes with it is its last. While a filter cannot judge
it waits, and says so, which is no attempt. The judgement is a verdict like any other, so that a
doubt and a refusal open a case, and a refusal can be appealed (`licensing.moderation`).
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from licensing import evidence, moderation
from licensing.adapters.tables import Adapter, note
from licensing.cases import Outcome
from licensing.db import now
from licensing.moderation import Action, Verdict

ATTEMPTS_MAX = 3
PROBE_SECONDS_MAX = 600.0  # a grid takes seconds on a GPU, half a minute on a small CPU
RESEND_AFTER = timedelta(seconds=30)  # as for generations: a second message is harmless
ROWS_MAX = 100  # of one sweep

GIVEN_UP = (
    "The check was begun three times and broke each time, so the file is not used. "
    "Tell whoever runs the studio."
)
SENTENCES = {
    "ready": "The pictures of the grid passed the filters.",
    "review": "A reviewer looks at the grid before the LoRA can be used.",
    "refused": "Pictures of the grid were refused by the filters.",
}


def take_waiting(
    session: Session, alive: Sequence[str], families: Collection[str], moment: datetime
) -> list[tuple[uuid.UUID, str]]:
    """Return the checks to ring for, with their families; another sweep at work skips them.

    Only for `families` that somebody serves: a queue that nobody reads must not grow for ever.
    A check whose worker is not among the `alive` ones, or takes too long, is one to begin again;
    after `ATTEMPTS_MAX` it is given up and the LoRA refused, without a verdict on anybody.
    """
    lost = Adapter.worker.is_not(None) & or_(
        Adapter.worker.not_in(alive),
        Adapter.sent_at < moment - timedelta(seconds=PROBE_SECONDS_MAX),
    )
    unheard = (
        Adapter.worker.is_(None)
        & (Adapter.sent_at < moment - RESEND_AFTER)
        & Adapter.family.in_(families)
    )
    waiting = session.scalars(
        select(Adapter)
        .where(Adapter.judgement.is_(None), Adapter.removed_at.is_(None), or_(lost, unheard))
        .order_by(Adapter.sent_at, Adapter.id)
        .limit(ROWS_MAX)
        .with_for_update(skip_locked=True)
    ).all()
    ringing = []
    for adapter in waiting:
        if adapter.attempts >= ATTEMPTS_MAX:
            adapter.judgement, adapter.reason = "refused", GIVEN_UP
            adapter.worker, adapter.problem = None, None
            note(session, adapter, "refused", detail=GIVEN_UP)
            continue
        adapter.worker, adapter.sent_at = None, moment
        ringing.append((adapter.id, adapter.family))
    session.flush()
    return ringing


def claim(session: Session, adapter_id: uuid.UUID, worker: str) -> Adapter | None:
    """Take a waiting check for a worker; None if it is not waiting (any more)."""
    return session.scalars(
        update(Adapter)
        .where(
            Adapter.id == adapter_id,
            Adapter.judgement.is_(None),
            Adapter.removed_at.is_(None),
            Adapter.worker.is_(None),
        )
        .values(worker=worker, attempts=Adapter.attempts + 1, sent_at=now(), problem=None)
        .returning(Adapter)
        .execution_options(populate_existing=True, synchronize_session=False)
    ).one_or_none()


def postpone(session: Session, claimed: Adapter, problem: str, *, is_spent: bool = False) -> bool:
    """Let a check wait, with the sentence that says why; an attempt is spent where it broke."""
    adapter = _mine(session, claimed)
    if adapter is None:
        return False
    adapter.worker = None
    adapter.attempts -= not is_spent
    adapter.problem, adapter.sent_at = problem, now()
    return True


def judge(
    session: Session,
    claimed: Adapter,
    *,
    action: Action,
    category: str | None,
    score: float | None,
    source: str,
    grid: str,
    reason: str | None = None,
) -> bool:
    """End a check by what the desk said of the grid; False if it is another's by now.

    A file that could not be drawn with is refused with a `reason` and without a verdict on its
    uploader: `source` is empty then.
    """
    adapter = _mine(session, claimed)
    if adapter is None:
        return False
    adapter.worker, adapter.problem = None, None
    adapter.grid, adapter.probed_at, adapter.category = grid, now(), category
    if source:
        verdict: Verdict = moderation.record(
            session,
            organisation_id=adapter.organisation_id,
            member_id=adapter.uploader_id,
            generation_id=None,
            adapter_id=adapter.id,
            subject="adapter",
            action=action,
            category=category,
            score=score,
            source=f"{source}, {grid}",
            excerpt=adapter.name,
        )
        adapter.verdict_id = verdict.id
    judgement = {"allow": "ready", "review": "review", "block": "refused"}[action]
    adapter.judgement, adapter.reason = judgement, reason or SENTENCES[judgement]
    note(session, adapter, judgement, detail=reason or "")  # type: ignore[arg-type]
    return True


def decide(
    session: Session,
    adapter_id: uuid.UUID,
    action: Outcome,
    *,
    reviewer_id: uuid.UUID,
    case_id: int,
    reason: str,
) -> bool:
    """Let a reviewer's decision stand in for the filter's; False if nothing changes by it.

    Locked evidence is never let go, whoever was cleared: the database refuses that too.
    """
    adapter = session.get(Adapter, adapter_id, populate_existing=True, with_for_update=True)
    judgement = "ready" if action == "allow" else "refused"
    if adapter is None or adapter.judgement == judgement:
        return False
    if action == "allow" and evidence.lock_of_adapter(session, adapter_id) is not None:
        return False
    adapter.judgement, adapter.reason = judgement, reason
    note(
        session,
        adapter,
        "ready" if action == "allow" else "refused",
        member_id=reviewer_id,
        case_id=case_id,
    )
    return True


def _mine(session: Session, claimed: Adapter) -> Adapter | None:
    """Return the row under its lock, if the attempt that was claimed still counts."""
    adapter = session.get(Adapter, claimed.id, populate_existing=True, with_for_update=True)
    if adapter is None or adapter.removed_at is not None or adapter.judgement is not None:
        return None
    is_mine = (adapter.worker, adapter.attempts) == (claimed.worker, claimed.attempts)
    return adapter if is_mine else None
