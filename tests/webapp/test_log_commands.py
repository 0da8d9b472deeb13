"""`atelier audit verify`, `export`, `checkpoint` and `key`, as people use them."""

import shutil
from pathlib import Path

import psycopg
import pytest
from factories import Team, team

from licensing.db import Database
from webapp.cli import main


@pytest.fixture
def people(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Team:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("ATELIER_STATE", str(tmp_path / "state"))
    return team(database)


def say(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    status = main(["audit", *map(str, words)])
    told = capsys.readouterr()
    return status, told.out + told.err


@pytest.mark.usefixtures("people")
def test_the_books_are_checked_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys) == (
        0,
        "The books are right: every balance equals the sum of its transfers.\n",
    )


@pytest.mark.usefixtures("people")
def test_a_tail_cut_off_is_found_by_a_checkpoint_kept_outside(
    database: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outside = tmp_path / "checkpoint.jsonl"
    assert say(capsys, "checkpoint", "--out", outside)[0] == 0
    status, told = say(capsys, "verify", "--checkpoint", outside)
    assert status == 0
    assert told.startswith("The log is whole: ")
    with psycopg.connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM chain_checkpoint")
        connection.execute("DELETE FROM seat_change WHERE id = (SELECT max(id) FROM seat_change)")
        connection.execute(
            "DELETE FROM chain_link WHERE kind = 'transfer' OR (kind = 'seat_change'"
            " AND key::bigint NOT IN (SELECT id FROM seat_change))"
        )
        connection.execute("DELETE FROM transfer")
    assert say(capsys, "verify")[0] == 0
    status, told = say(capsys, "verify", "--checkpoint", outside)
    assert status == 1
    assert "The chain was cut off at link" in told


@pytest.mark.usefixtures("people")
def test_an_outsider_verifies_an_export_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, log = tmp_path / "checkpoint.jsonl", tmp_path / "log.jsonl"
    say(capsys, "checkpoint", "--out", outside)
    assert say(capsys, "export", log, "--without-words")[0] == 0
    key = say(capsys, "key")[1].strip()
    monkeypatch.delenv("DATABASE_URL")
    shutil.rmtree(tmp_path / "state")
    status, told = say(capsys, "verify", "--offline", log, "--checkpoint", outside, "--key", key)
    assert status == 0
    assert told.splitlines()[-1] == "The export holds no words, so nothing is said about those."
    assert say(capsys, "verify", "--offline", log, "--key", "00" * 32)[0] == 1
    log.write_text(log.read_text().replace('"kind": "joined"', '"kind": "suspended"', 1))
    status, told = say(capsys, "verify", "--offline", log, "--key", key)
    assert status == 1
    assert "seat_change 1 was altered" in told
    assert "Believed" in say(capsys, "verify", "--offline", log)[1]


@pytest.mark.usefixtures("people")
def test_files_that_are_none_of_ours_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("[]\n")
    for words in (
        ("verify", "--offline", other),
        ("verify", "--offline", tmp_path / "absent"),
        ("verify", "--checkpoint", other),
        ("verify", "--key", "00"),
        ("export", tmp_path / "absent" / "log.jsonl"),
    ):
        status, told = say(capsys, *words)
        assert (status, told.startswith("atelier: ")) == (1, True), told
