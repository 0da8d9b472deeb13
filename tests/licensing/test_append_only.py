"""The logs cannot be rewritten, whoever holds the connection."""

import uuid

import pytest
from factories import Team, team
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import (
    agreements,
    appeals,
    cases,
    decisions,
    evidence,
    ledger,
    looks,
    moderation,
    reports,
    review_access,
    usage,
)
from licensing.db import Database, now
from licensing.decisions import Order
from licensing.reports import Complaint

# Each log, and a column of it.
LOGS = {
    "acceptance": "version",
    "seat_change": "detail",
    "transfer": "note",
    "usage_line": "model",
    "verdict": "excerpt",
    "decision": "reason",
    "look": "reason",
    "appeal": "words",
    "report": "statement",
    "evidence_step": "note",
    "review_grant": "reason",
}


def test_no_row_of_a_log_can_be_changed_or_deleted(database: Database) -> None:
    _write_one_of_each(database, team(database))
    for log, column in LOGS.items():
        for statement in (
            f"UPDATE {log} SET {column} = 'x'",
            f"DELETE FROM {log}",
            f"TRUNCATE {log} CASCADE",
        ):
            assert _refusal(database, statement) == f"table {log} is append-only: write a new row"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hold SET state = 'held', settled_micros = NULL, resolved_at = NULL",
        "UPDATE hold SET amount_micros = amount_micros + 1",
        "UPDATE hold SET settled_micros = 0",
    ],
)
def test_a_resolved_hold_stays_resolved(database: Database, statement: str) -> None:
    _write_one_of_each(database, team(database))
    assert _refusal(database, statement) == "a hold is resolved once and never rewritten"


def test_holds_cannot_be_deleted(database: Database) -> None:
    _write_one_of_each(database, team(database))
    for statement in ("DELETE FROM hold", "TRUNCATE hold CASCADE"):
        assert "append-only" in _refusal(database, statement)


def _refusal(database: Database, statement: str) -> str:
    with pytest.raises(IntegrityError) as refusal, database.transaction() as session:
        session.execute(text(statement))
    return str(refusal.value.orig).splitlines()[0]


def _write_one_of_each(database: Database, people: Team) -> None:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        agreements.accept(session, people.creator.id, agreements.current(), now())
        ledger.hold(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=generation_id,
            amount_micros=15_000,
            price_version="2026-11",
        )
        assert ledger.settle(session, generation_id, 15_000)
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=people.id,
            member_id=people.creator.id,
            model="pocket-turbo",
            images=1,
            width=128,
            height=128,
            amount_micros=15_000,
            price_version="2026-11",
            at=now(),
        )
        moderation.record(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=generation_id,
            subject="prompt",
            action="block",
            category="weapons",
            source="rules:weapons-targeting",
            excerpt="...",
        )
        _judge_one_of_each(session, people)


def _judge_one_of_each(session: Session, people: Team) -> None:
    case = session.scalars(select(cases.ReviewCase)).one()
    appeals.file(session, people.creator, case.id, words="It was a toy.")
    order = Order("block", "weapons", "It shows how to build one.")
    decisions.decide(session, people.reviewer, case, order, effect="none")
    looks.record(session, people.reviewer, case, "prompt", reason="To decide this case")
    review_access.change(
        session, people.owner, people.reviewer.id, is_given=True, reason="She was trained for it"
    )
    words = "This is a picture of my child."
    complaint = Complaint(
        "minors_sexual", words, "Ada", "ada@nord.example", link="https://nord.example/1"
    )
    report = reports.file_public(session, complaint, None)
    locked = cases.access(session, people.id, report.case_id)
    evidence.tick(session, people.reviewer, locked, "seen", note="")
