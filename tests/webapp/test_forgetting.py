"""A person who is erased takes their words out of the log, and the log still verifies."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from atelier_at_work import Work, open_work
from sqlalchemy import text

from licensing import chain, moderation
from licensing.chain import checkpoints
from licensing.chain.signing import LogKey, open_key
from licensing.db import now
from webapp import account, departures

SECRETS = ("my first secret wish", "my second secret wish")


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


@pytest.fixture
def key(tmp_path: Path) -> LogKey:
    return open_key(tmp_path / "papers", {})


def judged(work: Work, prompt: str) -> int:
    """A finished job whose picture a reviewer is to look at; returns the case's number."""
    job = work.finished(prompt)
    with work.running.database.transaction() as session:
        verdict = moderation.record(
            session,
            organisation_id=job.organisation_id,
            member_id=job.member_id,
            generation_id=job.id,
            picture_index=0,
            subject="image",
            action="review",
            category="sexual",
            score=0.5,
            source="test",
            excerpt=prompt,
        )
        case = text("SELECT id FROM review_case WHERE verdict_id = :id")
        return int(session.execute(case, {"id": verdict.id}).scalar_one())


@pytest.mark.parametrize("is_locked", [False, True])
def test_words_go_with_the_person_but_for_locked_evidence(
    work: Work, key: LogKey, *, is_locked: bool
) -> None:
    database, admin = work.running.database, work.running.member("demo-admin")
    case_id, _ = (judged(work, secret) for secret in SECRETS)
    chain.seal(database)
    checkpoints.make(database, key)
    if is_locked:
        with database.transaction() as session:
            session.execute(_LOCK, {"case": case_id, "until": now() + timedelta(days=365)})
    account.remove(work.running.studio, admin, work.member.id)
    departures.erase(work.running.studio, admin, work.member.id)
    chain.seal(database)
    with database.read() as session:
        excerpts = session.scalars(text("SELECT excerpt FROM verdict ORDER BY id")).all()
    assert excerpts == [SECRETS[0] if is_locked else "", ""]
    report = chain.inspect(database, [], frozenset({key.public}))
    assert report.findings == ()
    assert report.erased == (1 if is_locked else 2)


_LOCK = text(
    """
    INSERT INTO evidence_lock (generation_id, picture_index, organisation_id, case_id, locked_at,
                               keep_until)
    SELECT generation_id, 0, organisation_id, id, now(), :until FROM review_case WHERE id = :case
    """
)
