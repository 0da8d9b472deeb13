"""The operator's hand on balances: by the command, with a reason, and never past the ledger."""

import pytest
from factories import Team, team

from licensing import ledger
from licensing.audit import audit
from licensing.db import Database
from webapp.cli import main


@pytest.fixture
def people(database: Database, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.setenv("DATABASE_URL", database.url)
    return team(database, balance_micros=10_000_000)


def say(capsys: pytest.CaptureFixture[str], people: Team, command: str, *words: str) -> str:
    """Run a command on the team's organisation; return what it printed, on either stream."""
    status = main([command, str(people.id), *words])
    told = capsys.readouterr()
    assert (status == 0) == (told.err == ""), told
    return told.out + told.err


def test_a_balance_is_put_right_with_a_reason(
    database: Database, people: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    why = ("--reason", "outage of 3 May", "--by", "ops")
    assert "$12.50 settled" in say(capsys, people, "adjust", "2.50", *why)
    assert "$11.00 settled" in say(capsys, people, "adjust", "-1.5", *why)
    assert "At most $11.00" in say(capsys, people, "adjust", "-100", *why)
    assert "Say why" in say(capsys, people, "adjust", "1", "--reason", " ")
    assert "US dollars" in say(capsys, people, "adjust", "1,5", *why)
    with database.read() as session:
        (latest, *_) = ledger.transfers(session, people.id, limit=1)
        assert latest.note == "outage of 3 May (ops)"
        assert audit(session) == []


def test_a_gift_is_given_until_the_end_of_a_day(
    people: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    why = ("--reason", "welcome", "--key", "welcome-7")
    for _ in range(2):
        told = say(capsys, people, "grant", "5", "--expires", "2099-12-31", *why)
    assert "$15.00 settled" in told
    told = say(capsys, people, "balance")
    assert "promotional" in told
    assert "$5.00 of $5.00 left, until 2100-01-01 00:00 UTC" in told
    assert "no day" in say(capsys, people, "grant", "5", "--expires", "2026-02-29", *why)


def test_credit_and_freezing_are_set_and_taken_back(
    people: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    why = ("--reason", "contract 7")
    assert "$500.00 credit limit" in say(capsys, people, "credit-limit", "500", *why)
    assert "credit limit" not in say(capsys, people, "credit-limit", "0", *why)
    assert "frozen: contract 7." in say(capsys, people, "freeze", *why)
    assert "frozen" not in say(capsys, people, "unfreeze", *why)


def test_who_is_unknown_gets_one_sentence(people: Team, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "Nobody"]) == 1
    assert "No organisation is called" in capsys.readouterr().err
    assert main(["refund-generation", "seven", "--reason", "x"]) == 1
    assert "UUID" in capsys.readouterr().err
    assert "Nothing is charged" in say(capsys, people, "refund-generation", "--reason", "x")
