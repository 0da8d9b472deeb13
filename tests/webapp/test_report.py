"""Reports: by a colleague, and by anybody through the take-down form without an account."""

import hashlib
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from at_bench import (
    Bench,
    decide,
    draw_on,
    file_of,
    hash_pictures,
    letters,
    open_bench,
    open_cases,
    textured,
    words,
)
from PIL.Image import Transpose
from post_office import post_office
from sqlalchemy import select, text, update

from inference.generations import Picture
from inference.safety.uploads import FILE_BYTES_MAX
from licensing import cases, reports
from licensing.cases import TAKE_DOWN_TIME, Subject
from licensing.report_pace import OF_ADDRESS_IN_AN_HOUR_MAX, ReportPace
from licensing.reports import PUBLIC_IN_AN_HOUR_MAX, Report

SAID = {
    "category": "ncii",
    "link": "https://elsewhere.example/picture.png",
    "statement": "This is me, and I never agreed.",
    "name": "Ada Example",
    "contact": "ada@elsewhere.example",
    "truth": "true",
}

WORDS = ("organisation_id", "source", "category", "statement", "name", "contact", "link", "at")


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, environ)


@pytest.fixture
def stranger(bench: Bench) -> httpx2.Client:
    return bench.work.running.browser(accept="text/html")


def send(stranger: httpx2.Client, content: bytes | None = None, **said: str) -> httpx2.Response:
    file: Any = None if content is None else {"file": ("picture.png", content)}
    return stranger.post("/report", data={**SAID, **said}, files=file)


def written(bench: Bench) -> list[Report]:
    with bench.work.running.database.read() as session:
        return list(session.scalars(select(Report).order_by(Report.id)))


def plain(answer: httpx2.Response) -> str:
    """The answer without the receipt's number."""
    receipt = answer.text.partition('<strong class="mono">')[2].partition("<")[0]
    return answer.text.replace(receipt, "")


def test_a_take_down_by_address_has_48_hours(bench: Bench, stranger: httpx2.Client) -> None:
    job = bench.work.finished()
    url = bench.work.running.settings.url
    answer = send(stranger, link=f"{url}/media/{job.pictures[0].id}")
    assert "A person looks at it within 48 hours." in words(answer)
    (report,) = written(bench)
    assert report.receipt in answer.text
    (case,) = open_cases(bench.work, "take_down")
    assert (case.generation_id, case.member_id) == (job.id, bench.creator.id)
    assert case.due_at == case.opened_at + TAKE_DOWN_TIME
    assert case.due_at - case.opened_at == timedelta(hours=48)
    shown = words(bench.ask("reviewer").get("/review/view"))
    assert "This is me, and I never agreed." in shown
    assert "47 h left" in shown
    decide(bench.ask("reviewer"), case, "block", category="ncii")
    assert bench.ask("creator").get(f"/media/{job.pictures[0].id}").status_code == 404


def test_a_copy_is_found_by_its_bytes_and_by_its_looks(
    bench: Bench, stranger: httpx2.Client
) -> None:
    exact, alike = bench.work.finished(), bench.work.finished("another")
    image = textured(3)
    draw_on(bench.work, alike, 0, image)
    draw_on(bench.work, exact, 0, textured(4))
    hash_pictures(bench.work)
    content = file_of(textured(5))
    with bench.work.running.database.transaction() as session:
        session.execute(
            update(Picture)
            .where(Picture.id == exact.pictures[0].id)
            .values(sha256=hashlib.sha256(content).hexdigest())
        )
    turned = image.transpose(Transpose.ROTATE_90).resize((180, 180))  # turned, smaller, compressed
    send(stranger, content, link="")
    send(stranger, file_of(turned, "JPEG", quality=75), link="")
    assert [report.picture_id for report in written(bench)] == [
        exact.pictures[0].id,
        alike.pictures[0].id,
    ]


def test_the_answer_is_the_same_whether_the_picture_is_known_or_not(
    bench: Bench, stranger: httpx2.Client
) -> None:
    job = bench.work.finished()
    draw_on(bench.work, job, 0, textured(3))
    hash_pictures(bench.work)
    known = send(stranger, file_of(textured(3)), link="")
    unknown = send(stranger, file_of(textured(4)), link="")
    assert [report.picture_id is None for report in written(bench)] == [False, True]
    assert plain(known) == plain(unknown)
    assert len(known.content) == len(unknown.content)
    # The second fits nothing of ours: the organisation that was here first looks at it.
    assert len(open_cases(bench.work, "take_down")) == 2
    assert bench.work.running.member("demo-reviewer").organisation_id in {
        case.organisation_id for case in open_cases(bench.work, "take_down")
    }


WRONG = (
    ("truth", "", "Confirm that what you say is true"),
    ("category", "poem", "Choose what the report is about."),
    ("link", "", "Give the address of the picture, or bring its file."),
    ("link", "x" * 2001, "The address may have 2,000 characters."),
    ("statement", "short", "Say what is wrong with the picture"),
    ("statement", "x" * 4001, "Say what is wrong with the picture"),
    ("name", "", "Give your name"),
    ("contact", "nowhere", "Give an e-mail address"),
    ("contact", "a@b.example, c@d.example", "Give an e-mail address"),
)


def test_what_is_missing_is_said_and_what_was_written_stays(
    bench: Bench, stranger: httpx2.Client
) -> None:
    for field, value, told in WRONG:
        answer = stranger.post("/report", data={**SAID, field: value})
        assert answer.status_code == 422, (field, value)
        assert told in answer.text
        assert field == "contact" or "ada@elsewhere.example" in answer.text
    assert written(bench) == []


def test_a_file_that_is_no_picture_or_too_large_is_refused(
    bench: Bench, stranger: httpx2.Client
) -> None:
    assert send(stranger, b"GIF89a nothing", link="").status_code == 422
    assert send(stranger, b"x" * (FILE_BYTES_MAX + 70_000)).status_code == 413
    assert written(bench) == []


def test_the_words_of_a_stranger_are_no_markup(bench: Bench, stranger: httpx2.Client) -> None:
    send(stranger, statement="<script>alert(1)</script>", link="javascript:alert(1)")
    (report,) = written(bench)
    desk = bench.work.client("demo-reviewer").get(f"/review/view?case={report.case_id}").text
    assert "&lt;script&gt;alert(1)" in desk
    assert "<script>alert" not in desk
    assert 'href="javascript' not in desk


def test_an_address_sends_so_many_reports_an_hour_to_all_processes(
    bench: Bench, stranger: httpx2.Client
) -> None:
    assert send(stranger).status_code == 200
    database = bench.work.running.database
    with database.transaction() as session:  # as other processes would leave it; the hour may turn
        session.execute(update(ReportPace).values(sent=OF_ADDRESS_IN_AN_HOUR_MAX - 1))
        session.execute(
            text(
                "INSERT INTO report_pace SELECT address, hour + interval '1 h', 9 FROM report_pace"
            )
        )
    assert [send(stranger).status_code for _ in range(2)] == [200, 429]
    with database.transaction() as session:
        session.execute(update(ReportPace).values(hour=ReportPace.hour - timedelta(hours=2)))
    assert send(stranger).status_code == 200  # a later hour, which forgets those before
    with database.read() as session:
        assert [pace.sent for pace in session.scalars(select(ReportPace))] == [1]


def test_all_strangers_together_send_so_many(bench: Bench, stranger: httpx2.Client) -> None:
    send(stranger)
    (report,) = written(bench)
    with bench.work.running.database.transaction() as session:
        for number in range(PUBLIC_IN_AN_HOUR_MAX):
            case = cases.open_case(
                session, report.organisation_id, "take_down", category=None, subject=Subject()
            )
            words_of = {name: getattr(report, name) for name in WORDS}
            session.add(Report(case_id=case.id, receipt=f"R{number}", **words_of))
    assert send(stranger).status_code == 429


def test_a_member_reports_what_they_see_once(bench: Bench) -> None:
    job = bench.work.finished()
    creator = bench.ask("creator")
    address = f"/pictures/{job.pictures[0].id}/report"
    assert "Report this picture" in words(creator.get(address))
    answer = creator.post(address, data={"category": "rights", "statement": "My brand."})
    assert "A reviewer looks at it" in words(answer)
    assert creator.post(address, data={"category": "rights"}).status_code == 409
    assert creator.post(address, data={"category": "poem"}).status_code == 422
    (case,) = open_cases(bench.work, "report")
    shown = words(bench.ask("reviewer").get("/review/view"))
    assert "My brand." in shown
    assert "Nothing of yours was refused." in words(creator.get("/refusals"))
    assert decide(bench.ask("reviewer"), case, "allow").status_code == 200


def test_a_picture_that_one_does_not_see_cannot_be_reported(bench: Bench) -> None:
    job = bench.work.finish(bench.work.claim(bench.work.submit(images=2)), refused=[1])
    refused, seen = job.pictures[1].id, job.pictures[0].id
    for role, picture in (("creator", refused), ("admin", seen), ("reviewer", seen)):
        address = f"/pictures/{picture}/report"
        assert bench.ask(role).get(address).status_code == 404
        answer = bench.ask(role).post(address, data={"category": "rights"})
        assert answer.status_code == 404
    assert written(bench) == []


def test_who_reported_does_not_decide(bench: Bench) -> None:
    job = bench.work.finished()
    with bench.work.running.database.transaction() as session:
        target = reports.Target(
            bench.desks.team.id,
            job.pictures[0].id,
            cases.Subject(bench.creator.id, job.id, 0),
        )
        made = reports.file_by_member(
            session, bench.reviewer, target, category="rights", statement=""
        )
    (case,) = open_cases(bench.work, "report")
    assert made.case_id == case.id
    refused = decide(bench.ask("reviewer"), case, "block")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
    assert decide(bench.ask("second"), case, "block").status_code == 200


def test_the_reporter_hears_of_receipt_and_decision_and_nothing_more(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office())
    mail = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(office.port), "SMTP_SECURITY": "none"}
    bench = open_bench(stack, {**environ, **mail, "SMTP_FROM": "Atelier <atelier@nord.example>"})
    job = bench.work.finished()
    stranger = bench.work.running.browser(accept="text/html")
    url = bench.work.running.settings.url
    send(stranger, link=f"{url}/media/{job.pictures[0].id}", statement="<b>Spam</b> for you.")
    (case,) = open_cases(bench.work, "take_down")
    decide(bench.ask("reviewer"), case, "block", category="ncii", reason="It is intimate.")
    receipt, taken_back, answer = letters(office, 3)
    assert (receipt["to"], answer["to"]) == ("ada@elsewhere.example", "ada@elsewhere.example")
    assert taken_back["to"] == bench.creator.email
    for letter in (receipt, answer):
        told = f"{letter['subject']} {letter.get_content()}"
        assert written(bench)[0].receipt in told
        for private in ("Spam", "Rui", "Cleo", "intimate"):
            assert private not in told
    assert "ada@" not in taken_back.get_content()
