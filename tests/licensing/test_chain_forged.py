"""Each way to bend the log, done by somebody with every right, is named by its first row."""

from pathlib import Path
from typing import Any

import pytest
from factories import team
from log_forger import Forger, edit_lines
from test_chain import write_verdict

from licensing import chain
from licensing.chain import checkpoints, export, log
from licensing.chain.inspection import Report
from licensing.chain.signing import LogKey, open_key
from licensing.chain.verify import What
from licensing.db import Database

VERDICTS = 9


@pytest.fixture
def key(tmp_path: Path) -> LogKey:
    return open_key(tmp_path / "papers", {})


@pytest.fixture
def forger(database: Database) -> Forger:
    """A forger before a linked log of nine verdicts."""
    people = team(database)
    for number in range(1, VERDICTS + 1):
        write_verdict(database, people, f"prompt {number}")
    chain.seal(database)
    return Forger(database)


def test_an_altered_row(database: Database, forger: Forger, key: LogKey) -> None:
    forger.run("UPDATE verdict SET action = 'allow' WHERE id IN (3, 6)")
    _expect(verify(database, key), "altered", forger.place("verdict", 3), "verdict 3")


def test_altered_words(database: Database, forger: Forger, key: LogKey) -> None:
    forger.run("UPDATE verdict SET excerpt = 'a harmless cat' WHERE id = 5")
    _expect(verify(database, key), "altered", forger.place("verdict", 5), "verdict 5")


def test_a_row_altered_together_with_its_link(
    database: Database, forger: Forger, key: LogKey
) -> None:
    place = forger.place("verdict", 3)
    forger.run("UPDATE verdict SET action = 'allow' WHERE id = 3")
    forger.relink(place)
    _expect(verify(database, key), "altered", place, "verdict 3")


def test_a_deleted_row(database: Database, forger: Forger, key: LogKey) -> None:
    forger.run("DELETE FROM review_case", "DELETE FROM verdict WHERE id = 4")
    _expect(verify(database, key), "deleted", forger.place("verdict", 4), "verdict 4")


@pytest.mark.parametrize("renumbered", [False, True])
def test_a_row_deleted_together_with_its_link(
    database: Database, forger: Forger, key: LogKey, *, renumbered: bool
) -> None:
    place = forger.place("verdict", 4)
    forger.run(
        "DELETE FROM verdict WHERE id = 4",
        "DELETE FROM chain_link WHERE kind = 'verdict' AND key = '4'",
    )
    if renumbered:
        forger.shift(place + 1, -1)
    _expect(verify(database, key), "deleted", place, "")


def test_a_row_deleted_before_it_was_linked(database: Database, key: LogKey) -> None:
    people = team(database)
    chain.seal(database)
    write_verdict(database, people, "unseen")
    Forger(database).run("DELETE FROM review_case", "DELETE FROM verdict")
    chain.seal(database)
    (found,) = verify(database, key).findings
    assert (found.what, found.row) == ("deleted", "verdict 1")


def test_reordered_links(database: Database, forger: Forger, key: LogKey) -> None:
    first, second = forger.place("verdict", 4), forger.place("verdict", 7)
    forger.run(
        f"UPDATE chain_link SET number = 1000 WHERE kind = 'verdict' AND number = {first}",
        f"UPDATE chain_link SET number = {first} WHERE kind = 'verdict' AND number = {second}",
        f"UPDATE chain_link SET number = {second} WHERE number = 1000",
    )
    _expect(verify(database, key), "reordered", first, "verdict 7")


def test_rows_that_changed_their_numbers(database: Database, forger: Forger, key: LogKey) -> None:
    forger.run(
        "UPDATE verdict SET at = (SELECT at FROM verdict WHERE id = 8) WHERE id = 2",
    )
    _expect(verify(database, key), "altered", forger.place("verdict", 2), "verdict 2")


def test_a_row_inserted_past_the_log(database: Database, forger: Forger, key: LogKey) -> None:
    forger.run(*_insertion(77))
    _expect(verify(database, key), "inserted", 0, "verdict 77")


def test_a_row_inserted_with_a_link_between_others(
    database: Database, forger: Forger, key: LogKey
) -> None:
    place = forger.place("verdict", 5)
    forger.run(*_insertion(77))
    forger.shift(place, 1)
    forger.insert(place, 77)
    _expect(verify(database, key), "inserted", place, "verdict 77")


def test_a_tail_that_was_cut_off(database: Database, forger: Forger, key: LogKey) -> None:
    kept = _kept_elsewhere(database, key)
    place = forger.place("verdict", 7)
    forger.run(
        "DELETE FROM verdict WHERE id >= 7",
        f"DELETE FROM chain_link WHERE kind = 'verdict' AND number >= {place}",
        "DELETE FROM chain_checkpoint",
    )
    assert verify(database, key).findings == ()  # the chain alone cannot tell
    report = chain.inspect(database, kept, frozenset({key.public}))
    (found,) = report.findings
    assert (found.what, found.number) == ("cut off", place)


def test_a_last_row_that_was_cut_off_is_named(
    database: Database, forger: Forger, key: LogKey
) -> None:
    checkpoints.make(database, key)
    place = forger.place("verdict", VERDICTS)
    forger.run(
        f"DELETE FROM verdict WHERE id = {VERDICTS}",
        f"DELETE FROM chain_link WHERE kind = 'verdict' AND key = '{VERDICTS}'",
    )
    _expect(verify(database, key), "cut off", place, f"verdict {VERDICTS}")


def test_a_chain_written_anew_contradicts_a_checkpoint(
    database: Database, forger: Forger, key: LogKey
) -> None:
    kept = _kept_elsewhere(database, key)
    forger.run("UPDATE verdict SET action = 'allow' WHERE id = 3", "DELETE FROM chain_checkpoint")
    forger.relink_all(forger.place("verdict", 3))
    assert verify(database, key).findings == ()
    (found,) = chain.inspect(database, kept, frozenset({key.public})).findings
    assert found.what == "rewritten"


def test_a_forged_checkpoint_is_not_believed(
    database: Database, forger: Forger, key: LogKey, tmp_path: Path
) -> None:
    checkpoints.make(database, open_key(tmp_path / "stranger", {}))
    found, *_ = verify(database, key).findings
    assert found.what == "unsigned"
    assert forger.place("verdict", 1)


def test_an_export_verifies_without_the_database(
    database: Database, forger: Forger, key: LogKey, tmp_path: Path
) -> None:
    checkpoints.make(database, key)
    for with_words in (True, False):
        path = _export(database, tmp_path, with_words=with_words)
        report = _verify_export(path, key)
        assert report.findings == ()
        assert report.links == verify(database, key).links
        assert ("prompt 3" in path.read_text("utf-8")) == with_words
    assert forger


@pytest.mark.parametrize(
    ("bend", "what"),
    [
        ("alter", "altered"),
        ("words", "altered"),
        ("delete", "deleted"),
        ("swap", "reordered"),
        ("insert", "inserted"),
        ("cut", "cut off"),
    ],
)
def test_a_bent_export_is_named(
    database: Database, forger: Forger, key: LogKey, tmp_path: Path, *, bend: str, what: What
) -> None:
    kept = _kept_elsewhere(database, key)
    path, place = _export(database, tmp_path), forger.place("verdict", 4)

    def change(lines: list[dict[str, Any]]) -> None:
        at = next(
            index
            for index, line in enumerate(lines)
            if (line.get("kind"), line.get("key")) == ("verdict", "4")
            and line.get("type") == "link"
        )
        if bend == "alter":
            lines[at]["fields"]["action"] = "allow"
        elif bend == "words":
            lines[at]["words"]["excerpt"] = "a harmless cat"
        elif bend == "delete":
            del lines[at]
        elif bend == "swap":
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
            lines[at]["number"], lines[at + 1]["number"] = place, place + 1
        elif bend == "insert":
            lines.insert(at, dict(lines[at - 1]))
            for line in lines[at:]:
                if line.get("chain") == lines[at]["chain"] and line.get("type") == "link":
                    line["number"] += 1
        else:
            last = [line for line in lines[at:] if line.get("type") == "link"]
            for line in (*last, *(one for one in lines if one.get("type") == "checkpoint")):
                lines.remove(line)

    edit_lines(path, change)
    report = chain.inspect_export(export.read(path), kept, frozenset({key.public}))
    found = report.findings[0]
    assert (found.what, found.number) == (what, place)


def verify(database: Database, key: LogKey) -> Report:
    return chain.inspect(database, [], frozenset({key.public}))


def _expect(report: Report, what: What, number: int, row: str) -> None:
    found = report.findings[0]
    assert (found.what, found.number, found.row) == (what, number, row), found.sentence


def _insertion(key: int) -> tuple[str, ...]:
    columns = "organisation_id, member_id, subject, action, source, excerpt, at"
    changed = columns.replace("action", "'allow'").replace("excerpt", "'never said'")
    into = f"INSERT INTO verdict (id, {columns}) OVERRIDING SYSTEM VALUE"
    return (f"{into} SELECT {key}, {changed} FROM verdict WHERE id = 1",)


def _kept_elsewhere(database: Database, key: LogKey) -> list[checkpoints.Checkpoint]:
    checkpoints.make(database, key)
    with database.read() as session:
        return checkpoints.stored(session, latest_only=True)


def _export(database: Database, folder: Path, *, with_words: bool = True) -> Path:
    path = folder / "log.jsonl"
    with log.still(database) as session:
        export.write(path, session, with_words=with_words)
    return path


def _verify_export(path: Path, key: LogKey) -> Report:
    return chain.inspect_export(export.read(path), [], frozenset({key.public}))
