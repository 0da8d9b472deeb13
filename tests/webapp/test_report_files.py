"""A file that comes with a report passes the desk: its reviewer is told, and nobody else."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
from at_bench import Bench, file_of, open_bench, open_cases, textured, words
from PIL import Image
from PIL.Image import Transpose
from sqlalchemy import select

from inference.safety import opennsfw, pdq
from licensing import block_list
from licensing.cases import MINORS_TIME, TAKE_DOWN_TIME, ReviewCase
from licensing.upload_verdicts import UploadVerdict

SAID = {
    "category": "rights",
    "statement": "This is my work, and I never agreed.",
    "name": "Ada Example",
    "contact": "ada@elsewhere.example",
    "truth": "true",
}


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, environ)


@pytest.fixture
def stranger(bench: Bench) -> httpx2.Client:
    return bench.work.running.browser(accept="text/html")


@pytest.fixture
def explicit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A classifier that takes every dark picture for an explicit one."""

    def score(_: object, image: Image.Image) -> float:
        return 0.93 if image.convert("L").resize((1, 1)).getpixel((0, 0)) < 200 else 0.01

    monkeypatch.setattr(opennsfw, "score", score)
    return


def bring(stranger: httpx2.Client, image: Image.Image) -> httpx2.Response:
    answer = stranger.post("/report", data=SAID, files={"file": ("p.png", file_of(image))})
    assert answer.status_code == 200
    return answer


def list_it(bench: Bench, image: Image.Image, category: str) -> None:
    line = pdq.fingerprint(image).orientations[0].tobytes().hex()
    with bench.work.running.database.transaction() as session:
        assert block_list.import_feed(session, [line], source="feed", category=category) == 1


def said(bench: Bench) -> list[tuple[str, str | None, str]]:
    with bench.work.running.database.read() as session:
        rows = session.scalars(select(UploadVerdict).order_by(UploadVerdict.id))
        return [(row.action, row.category, row.source) for row in rows]


def shown(bench: Bench, case: ReviewCase) -> str:
    return words(bench.work.client("demo-reviewer").get(f"/review/view?case={case.id}"))


def test_a_harmless_file_is_said_to_be_one(bench: Bench, stranger: httpx2.Client) -> None:
    bring(stranger, textured(3))
    assert said(bench) == [("allow", None, opennsfw.SOURCE)]
    (case,) = open_cases(bench.work, "take_down")
    assert case.category == "rights"
    assert "The filter finds nothing." in shown(bench, case)


@pytest.mark.usefixtures("explicit")
def test_an_explicit_file_is_taken_and_told_to_the_reviewer(
    bench: Bench, stranger: httpx2.Client
) -> None:
    bring(stranger, textured(3))
    assert said(bench) == [("block", "sexual", opennsfw.SOURCE)]
    (case,) = open_cases(bench.work, "take_down")
    told = shown(bench, case)
    assert re.search(r"The filter would refuse it: sexual\w*.*, 0\.93", told, re.IGNORECASE), told


def test_a_copy_of_a_listed_picture_is_more_urgent_and_open_to_few(
    bench: Bench, stranger: httpx2.Client
) -> None:
    list_it(bench, textured(3), "minors_sexual")
    turned = textured(3).transpose(Transpose.ROTATE_90).resize((180, 180))
    listed = bring(stranger, turned)
    other = bring(stranger, textured(4))
    assert said(bench) == [
        ("block", "minors_sexual", "pdq:feed"),
        ("allow", None, opennsfw.SOURCE),
    ]
    urgent, usual = sorted(open_cases(bench.work, "take_down"), key=lambda case: case.id)
    assert (urgent.category, usual.category) == ("minors_sexual", "rights")
    assert urgent.due_at == urgent.opened_at + MINORS_TIME
    assert usual.due_at == usual.opened_at + TAKE_DOWN_TIME
    locked = shown(bench, urgent)
    assert "This evidence is locked" in locked
    assert "pdq:feed" not in locked
    assert len(listed.content) == len(other.content), "the answer tells nobody what is listed"


def test_what_another_organisation_blocks_is_its_own(bench: Bench, stranger: httpx2.Client) -> None:
    hashed = pdq.fingerprint(textured(3)).orientations[0].tobytes()
    theirs = bench.desks.team.id
    assert theirs != bench.work.running.member("demo-reviewer").organisation_id
    with bench.work.running.database.transaction() as session:
        block_list.block(
            session,
            organisation_id=theirs,
            pdq=hashed,
            category="hate",
            note="",
            added_by=bench.reviewer.id,
        )
    bring(stranger, textured(3))
    assert said(bench) == [("allow", None, opennsfw.SOURCE)]


def test_a_filter_that_is_away_refuses_no_report(
    bench: Bench, stranger: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("no such file")

    monkeypatch.setattr(opennsfw, "score", fail)
    bring(stranger, textured(3))
    assert said(bench) == []
    (case,) = open_cases(bench.work, "take_down")
    assert "No filter judged it." in shown(bench, case)
