"""The chained log on a real database: what is linked, when, and what nobody can rewrite."""

import threading
import uuid
from pathlib import Path

import pytest
from factories import Team, team
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from licensing import chain, ledger, moderation, seats
from licensing.chain import checkpoints, sources
from licensing.chain.inspection import Report
from licensing.chain.signing import LogKey, open_key
from licensing.db import Database
from licensing.seats import Role

EXCERPTS = [f"the words of prompt {number}" for number in range(8)]


@pytest.fixture
def key(tmp_path: Path) -> LogKey:
    return open_key(tmp_path / "papers", {})


@pytest.fixture
def people(database: Database) -> Team:
    """A team with eight verdicts, all linked."""
    made = team(database)
    for excerpt in EXCERPTS:
        write_verdict(database, made, excerpt)
    chain.seal(database)
    return made


def test_a_log_that_nobody_touched_verifies(database: Database, people: Team, key: LogKey) -> None:
    checkpoints.make(database, key)
    with database.transaction() as session:
        ledger.adjust(
            session,
            people.id,
            5_000_000,
            key="goodwill",
            author_id=people.owner.id,
            reason="for the outage",
        )
    assert chain.seal(database) == 1
    report = verify(database, key)
    assert report.findings == ()
    assert report.links == _count(database, "chain_link") > len(EXCERPTS)
    assert report.checkpoints >= 1
    assert chain.seal(database) == 0


def test_charges_are_left_to_the_books(database: Database, people: Team, key: LogKey) -> None:
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=generation_id,
            amount_micros=15_000,
            price_version="2026-11",
        )
        assert ledger.settle(session, generation_id, 15_000)
    assert chain.seal(database) == 0
    assert verify(database, key).findings == ()


def test_a_row_that_commits_late_is_linked_late(database: Database, key: LogKey) -> None:
    people = team(database)
    chain.seal(database)
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        with database.transaction() as session:
            _record(session, people, "slow")
            begun.set()
            may_end.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    begun.wait(10)
    write_verdict(database, people, "fast")  # a higher number, committed first
    assert chain.seal(database) == 1
    may_end.set()
    thread.join()
    assert chain.seal(database) == 1
    assert verify(database, key).findings == ()


def test_sealers_that_meet_link_each_row_once(database: Database, key: LogKey) -> None:
    people = team(database)
    for number in range(40):
        write_verdict(database, people, f"prompt {number}")
    waiting = _count(database, "chain_pending")
    sealed: list[int] = []
    threads = [
        threading.Thread(target=lambda: sealed.append(chain.seal(database))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sealed) == waiting
    assert verify(database, key).findings == ()


def test_organisations_have_chains_of_their_own(
    database: Database, people: Team, key: LogKey
) -> None:
    other = team(database)
    write_verdict(database, other, "elsewhere")
    chain.seal(database)
    with database.read() as session:
        chained = text("SELECT count(*), max(number) FROM chain_link WHERE chain_id = :id")
        for one in (people, other):
            count, last = session.execute(chained, {"id": one.id}).one()
            assert count == last > 0
    report = verify(database, key)
    assert report.findings == ()
    assert report.chains == 3  # with the studio's own, for the price list


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chain_link SET number = number + 100",
        "UPDATE chain_link SET salt = digest",
        "UPDATE chain_link SET salt = NULL, key = '0'",
        "DELETE FROM chain_link",
        "TRUNCATE chain_link",
        "DELETE FROM chain_checkpoint",
        "UPDATE chain_checkpoint SET number = 1",
        "UPDATE verdict SET excerpt = 'something else'",
        "UPDATE verdict SET excerpt = '', action = 'allow'",
    ],
)
@pytest.mark.usefixtures("people")
def test_the_database_refuses_to_rewrite_the_log(
    database: Database, key: LogKey, statement: str
) -> None:
    checkpoints.make(database, key)
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as session:
        session.execute(text(statement))


def test_every_append_only_table_is_logged_or_has_a_reason_not_to_be(database: Database) -> None:
    with database.read() as session:
        guarded = set(
            session.scalars(
                text(
                    "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
                    " WHERE tgname = 'append_only'"
                )
            )
        )
        chained = set(
            session.scalars(
                text("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'chain_row'")
            )
        )
        logged = {source.kind: source for source in sources.current()}
        assert chained == set(logged)
        assert guarded == set(logged) | set(sources.NOT_LOGGED)
        columns = text("SELECT column_name FROM information_schema.columns WHERE table_name = :t")
        for kind, source in logged.items():
            there = set(session.scalars(columns, {"t": kind}))
            assert set(source.fields) | set(source.words) == there, kind


def test_a_forgotten_person_leaves_a_log_that_verifies(
    database: Database, people: Team, key: LogKey
) -> None:
    checkpoints.make(database, key)
    with database.transaction() as session:
        assert chain.forget(session, people.id, people.creator.id) == len(EXCERPTS)
        fresh = seats.get_member(session, people.creator.id)
        seats.record(session, people.id, "forgotten", member=fresh)
    chain.seal(database)
    report = verify(database, key)
    assert report.findings == ()
    assert report.erased == len(EXCERPTS)
    with database.read() as session:
        assert set(session.scalars(text("SELECT excerpt FROM verdict"))) == {""}
        salts = text("SELECT salt FROM chain_link WHERE kind = 'verdict'")
        assert set(session.scalars(salts)) == {None}


def test_words_that_vanish_without_a_forgotten_person_are_named(
    database: Database, people: Team, key: LogKey
) -> None:
    with database.transaction() as session:
        chain.forget(session, people.id, people.creator.id)
    (found,) = verify(database, key).findings
    assert found.what == "erased"
    assert found.row == "verdict 1"


def test_a_role_change_is_in_the_chain(database: Database, people: Team) -> None:
    with database.transaction() as session:
        member = seats.get_member(session, people.creator.id)
        seats.record(session, people.id, "role", member=member, detail=f"to {Role.REVIEWER}")
    assert chain.seal(database) == 1
    with database.read() as session:
        newest = text("SELECT kind FROM chain_link ORDER BY sealed_at DESC, number DESC LIMIT 1")
        assert session.scalar(newest) == "seat_change"


def verify(database: Database, key: LogKey) -> Report:
    return chain.inspect(database, [], frozenset({key.public}))


def write_verdict(database: Database, people: Team, excerpt: str) -> None:
    with database.transaction() as session:
        _record(session, people, excerpt)


def _record(session: Session, people: Team, excerpt: str) -> None:
    moderation.record(
        session,
        organisation_id=people.id,
        member_id=people.creator.id,
        generation_id=None,
        subject="prompt",
        action="review",
        category="violence",
        score=0.25,
        source="rules:test",
        excerpt=excerpt,
    )


def _count(database: Database, table: str) -> int:
    with database.read() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
