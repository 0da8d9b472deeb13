"""A month in numbers: on the page, as a file and by command; and the commands beside it."""

import csv
import io
from argparse import Namespace
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from at_bench import Bench, decide, judge, look, open_bench, open_cases, refuse_prompt, words
from sqlalchemy import text, update

from inference.generations import Picture
from licensing.cases import ReviewCase
from licensing.db import now
from licensing.evidence import KEPT, EvidenceLock
from licensing.review_access import ReasonNeeded
from licensing.transparency import InvalidMonth
from webapp import review_commands


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, environ)


def rows(bench: Bench, month: str = "") -> list[dict[str, str]]:
    answer = bench.ask("reviewer").get("/review/transparency.csv", params={"month": month})
    assert answer.status_code == 200
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def count(found: list[dict[str, str]], **wanted: str) -> int:
    return sum(
        int(row["count"])
        for row in found
        if all(row[name] == value for name, value in wanted.items())
    )


def judge_a_few(bench: Bench) -> None:
    """Refuse three prompts and deliver a picture to be looked at; decide and appeal."""
    first, second, _ = (refuse_prompt(bench.work, bench.creator, f"words {n}") for n in range(3))
    seen = judge(bench.work, bench.work.finished(), 0, "review")
    look(bench.ask("reviewer"), seen)
    decide(bench.ask("reviewer"), seen, "block", category="sexual")
    decide(bench.ask("reviewer"), first, "block")
    bench.ask("creator").post(f"/refusals/{second.id}/appeal", data={"words": "It was a song."})
    decide(bench.ask("second"), open_cases(bench.work, "appeal")[0], "allow")


def test_the_month_is_counted_without_persons(bench: Bench) -> None:
    judge_a_few(bench)
    found = rows(bench)
    assert count(found, section="refusals", what="prompt", category="hate", action="block") == 3
    assert count(found, section="refusals", what="image", action="review") == 1
    assert count(found, section="appeals", what="filed") == 1
    assert count(found, section="appeals", what="granted") == 1
    assert count(found, section="decisions", what="picture", action="block") == 1
    assert count(found, section="measures", what="picture withheld") == 1
    assert count(found, section="looks", what="picture") == 1
    (share,) = [
        row for row in found if row["action"] == "share in time" and row["what"] == "picture"
    ]
    assert share["value"] == "1.00"
    whole = bench.ask("reviewer").get("/review/transparency.csv").text
    for private in ("Cleo", "Rui", bench.creator.email, "words 0", "song", str(bench.creator.id)):
        assert private not in whole
    page = words(bench.ask("reviewer").get("/review/view?view=numbers"))
    assert "Refused 3 1 more let through to be looked at" in page
    assert "1 granted, 0 denied" in page


def test_a_month_that_is_over_stays_as_it_was(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    decide(bench.ask("reviewer"), case, "block")
    month_ago = now() - timedelta(days=40)
    past = f"{month_ago:%Y-%m}"
    with bench.work.running.database.transaction() as session:
        for log in ("verdict", "decision"):
            session.execute(text(f"ALTER TABLE {log} DISABLE TRIGGER append_only"))
            session.execute(text(f"UPDATE {log} SET at = :at"), {"at": month_ago})
            session.execute(text(f"ALTER TABLE {log} ENABLE TRIGGER append_only"))
        session.execute(update(ReviewCase).values(opened_at=month_ago))
    before = rows(bench, past)
    assert count(before, section="decisions") == 1
    with bench.work.running.database.read() as session:
        decided = session.get_one(ReviewCase, case.id)
    assert decide(bench.ask("second"), decided, "allow").status_code == 200
    assert rows(bench, past) == before
    assert count(rows(bench), section="decisions", what="reversal") == 1


def test_no_cell_is_a_formula(bench: Bench) -> None:
    refuse_prompt(bench.work, bench.creator, "words", "=HYPERLINK(1)")
    assert {row["category"] for row in rows(bench)} == {"'=HYPERLINK(1)"}


def test_what_is_no_month_is_said_so(bench: Bench) -> None:
    reviewer = bench.ask("reviewer")
    for month in ("2026-13", "26-1", "never", "2026"):
        assert reviewer.get(f"/review/transparency.csv?month={month}").status_code == 422
        assert reviewer.get(f"/review/view?view=numbers&month={month}").status_code == 422


def test_another_organisation_is_not_counted(bench: Bench) -> None:
    refuse_prompt(bench.work, bench.work.running.member("demo-creator"), "words")
    assert rows(bench) == []


def ask(bench: Bench, command: str, **chosen: object) -> list[str]:
    database = bench.work.running.database
    return review_commands.COMMANDS[command](Namespace(**chosen), database, Path())


def test_the_operator_counts_the_whole_studio_or_one_organisation(bench: Bench) -> None:
    refuse_prompt(bench.work, bench.creator, "words")
    refuse_prompt(bench.work, bench.work.running.member("demo-creator"), "words")
    month = f"{now():%Y-%m}"
    assert any(",2," in line for line in ask(bench, "transparency", month=month, organisation=None))
    one = ask(bench, "transparency", month=month, organisation="Studio Nord")
    assert any(",1," in line for line in one)
    with pytest.raises(InvalidMonth):
        ask(bench, "transparency", month="x", organisation=None)


def test_the_operator_names_reviewers_where_there_is_no_owner(bench: Bench) -> None:
    chosen = {"organisation": "Studio Nord", "withdraw": None, "by": "root"}
    given = ask(bench, "reviewers", grant=bench.reviewer.email, reason="Trained", **chosen)
    assert [line for line in given if ": may open" in line] == [
        f"Rui Review <{bench.reviewer.email}>, reviewer: may open locked evidence"
    ]
    with pytest.raises(ReasonNeeded):
        ask(bench, "reviewers", grant=bench.reviewer.email, reason="", **chosen)


def test_evidence_is_destroyed_when_its_time_is_over_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setenv("ATELIER_STATE", environ["ATELIER_STATE"])
    job = bench.work.finish(bench.work.claim(bench.work.submit(images=2)), refused=[1])
    judge(bench.work, job, 1, "block", "minors_sexual")
    assert ask(bench, "evidence", destroy_expired=True, yes=True) == [
        "The time of no evidence is over."
    ]
    with bench.work.running.database.transaction() as session:
        session.execute(text("ALTER TABLE evidence_lock DISABLE TRIGGER keep_evidence_lock"))
        past = now() - KEPT - timedelta(days=1)
        session.execute(update(EvidenceLock).values(locked_at=past, keep_until=past + KEPT))
        session.execute(text("ALTER TABLE evidence_lock ENABLE TRIGGER keep_evidence_lock"))
    said = ask(bench, "evidence", destroy_expired=True, yes=False)
    assert "Say it again with --yes" in said[-1]
    (gone,) = ask(bench, "evidence", destroy_expired=True, yes=True)
    assert gone.endswith("2 files deleted")
    with bench.work.running.database.read() as session:
        assert session.get(Picture, job.pictures[1].id) is None
    assert ask(bench, "evidence", destroy_expired=True, yes=True) == [
        "The time of no evidence is over."
    ]
    (line,) = ask(bench, "evidence", destroy_expired=False, yes=False)
    assert "(over)" in line
