"""The worker's first step: the learned prompt filter, before the GPU works and the money settles.

What it says is written down with who said it. A refused prompt ends its generation as refused with
the hold released, in the transaction of the verdict; a doubtful one goes on, and a reviewer sees
it. Called by `worker.Job`, which may do so twice for one generation.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from inference import lifecycle
from inference.attempt import persist
from inference.generations import Generation
from inference.safety.prompt import PromptClassifier, PromptJudgement, refusal, tighten
from licensing import moderation, policy
from licensing.db import Database
from licensing.errors import AtelierError
from licensing.moderation import Verdict


class PromptStopped(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The learned filter does not allow this prompt."""

    code = "prompt_refused"
    status = 422

    def __init__(self, judged: PromptJudgement) -> None:
        """Repeat the category's sentence and keep the judgement."""
        self.judged = judged
        super().__init__(refusal(judged.category))


def check(database: Database, prompt_filter: PromptClassifier, claimed: Generation) -> None:
    """Judge a claimed generation's prompt and write down what was not simply allowed.

    Raises `PromptStopped` for a refused one, which `refuse` then ends, and `FilterUnavailable`.
    """
    said = prompt_filter.check(claimed.asked.prompt)
    if said.action == "allow":
        return
    tightened = persist(database, lambda s: policy.tightened(s, claimed.organisation_id))
    said = tighten(said, tightened)
    if said.action == "block":
        raise PromptStopped(said)
    persist(database, lambda session: _record(session, claimed, said))


def refuse(session: Session, claimed: Generation, stopped: PromptStopped) -> bool:
    """End the generation as refused, free of charge, and record why; False if it is another's."""
    won = lifecycle.refuse(session, claimed, code=stopped.code, message=stopped.message)
    if won:
        _record(session, claimed, stopped.judged)
    return won


def _record(session: Session, claimed: Generation, said: PromptJudgement) -> None:
    """Append the verdict, unless an earlier try of this job did."""
    same = select(Verdict.id).where(
        Verdict.generation_id == claimed.id,
        Verdict.subject == "prompt",
        Verdict.source == said.source,
        Verdict.action == said.action,
    )
    if session.scalars(same.limit(1)).first() is not None:
        return
    moderation.record(
        session,
        organisation_id=claimed.organisation_id,
        member_id=claimed.member_id,
        generation_id=claimed.id,
        subject="prompt",
        action=said.action,
        category=said.category,
        score=said.score,
        source=said.source,
        excerpt=claimed.asked.prompt,
    )
