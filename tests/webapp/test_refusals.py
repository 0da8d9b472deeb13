"""What a creator reads of a refusal, their one appeal, and the answer by page and mail."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from at_bench import (
    Bench,
    decide,
    judge,
    letters,
    open_bench,
    open_cases,
    read,
    refuse_prompt,
    refused_picture,
    words,
)
from post_office import PostOffice, post_office
from racing import race
from sqlalchemy import func, select

from licensing import appeals, cases
from licensing.appeals import Appeal
from licensing.cases import ReviewCase
from licensing.db import now


@pytest.fixture
def office(stack: ExitStack) -> PostOffice:
    return stack.enter_context(post_office())


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str], office: PostOffice) -> Bench:
    mail = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(office.port),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "Atelier <atelier@nord.example>",
    }
    return open_bench(stack, {**environ, **mail})


def appeal(bench: Bench, case: ReviewCase, said: str = "It is a statue.") -> int:
    answer = bench.ask("creator").post(f"/refusals/{case.id}/appeal", data={"words": said})
    return answer.status_code


def subjects(office: PostOffice, count: int) -> list[str]:
    return [str(letter["subject"]) for letter in letters(office, count)]


def test_a_refusal_says_why_and_until_when_it_can_be_appealed(bench: Bench) -> None:
    assert "Nothing of yours was refused." in words(bench.ask("creator").get("/refusals"))
    refuse_prompt(bench.work, bench.creator, "words that hurt")
    told = words(bench.ask("creator").get("/refusals"))
    assert "Prompt · Hate Refused" in told
    assert "This prompt attacks people for who they are." in told
    until = now() + appeals.APPEAL_WINDOW
    assert f"Appeal, until {until:%-d %B %Y}" in told


def test_what_a_reviewer_only_looks_at_is_no_refusal(bench: Bench) -> None:
    job = bench.work.finished()
    case = judge(bench.work, job, 0, "review")
    assert "Nothing of yours was refused." in words(bench.ask("creator").get("/refusals"))
    assert appeal(bench, case) == 404


def test_a_granted_appeal_releases_the_picture_and_says_so(
    bench: Bench, office: PostOffice
) -> None:
    job, case = refused_picture(bench.work)
    assert appeal(bench, case) == 303
    assert "Appeal waits for its answer" in words(bench.ask("creator").get("/refusals"))
    (answering,) = open_cases(bench.work, "appeal")
    assert answering.due_at == answering.opened_at + cases.APPEAL_TIME
    shown = words(bench.ask("reviewer").get("/review/view"))
    assert "It is a statue." in shown
    assert decide(bench.ask("reviewer"), answering, "allow", reason="It is.").status_code == 200
    assert bench.ask("creator").get(f"/media/{job.pictures[1].id}").status_code == 200
    assert read(bench.work, case).outcome == "allow"
    told = words(bench.ask("creator").get("/refusals"))
    assert "Allowed by a reviewer" in told
    assert "was not charged and stays free" in told
    assert subjects(office, 2) == ["Your appeal was received", "Your appeal was granted"]
    assert "was not charged and stays free" in office.letters[1].get_content()
    assert office.letters[1]["to"] == bench.creator.email


def test_a_denied_appeal_is_answered_and_there_is_no_second(
    bench: Bench, office: PostOffice
) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    assert appeal(bench, case) == 303
    (answering,) = open_cases(bench.work, "appeal")
    decide(bench.ask("reviewer"), answering, "block", reason="It does attack people.")
    told = words(bench.ask("creator").get("/refusals"))
    assert "Appeal answered: it stands" in told
    assert "It does attack people." in told
    assert appeal(bench, case) == 409
    assert subjects(office, 2)[-1] == "Your appeal was answered"


def test_who_decided_does_not_answer_the_appeal_against_it(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    decide(bench.ask("reviewer"), case, "block")
    assert appeal(bench, case) == 303
    (answering,) = open_cases(bench.work, "appeal")
    refused = decide(bench.ask("reviewer"), answering, "block")
    assert refused.json()["error"]["code"] == "second_reviewer_needed"
    assert decide(bench.ask("second"), answering, "allow").status_code == 200
    assert read(bench.work, case).outcome == "allow"


def test_a_release_answers_the_open_appeal(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    appeal(bench, case)
    decide(bench.ask("reviewer"), case, "allow")
    assert not open_cases(bench.work, "appeal")


def test_two_tabs_send_one_appeal(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    answers = race([lambda: appeal(bench, case)] * 4)
    assert sorted(answers) == [303, 409, 409, 409]
    with bench.work.running.database.read() as session:
        assert session.scalars(select(func.count()).select_from(Appeal)).one() == 1


def test_an_appeal_has_its_time_and_its_length(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    assert appeal(bench, case, "  ") == 422
    assert appeal(bench, case, "x" * 1001) == 422
    with bench.work.running.database.transaction() as session:
        old = session.get_one(ReviewCase, case.id)
        old.opened_at = now() - appeals.APPEAL_WINDOW - timedelta(days=1)
    assert appeal(bench, case) == 409
    assert "Appeal, until" not in words(bench.ask("creator").get("/refusals"))


def test_somebody_else_s_refusal_is_not_there(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words that hurt")
    admin = bench.ask("admin")
    assert "words that hurt" not in admin.get("/refusals").text
    for number in (case.id, 999, "abc", "9" * 30):
        answer = admin.post(f"/refusals/{number}/appeal", data={"words": "Mine now."})
        assert answer.status_code == 404


def test_words_are_no_markup(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "<script>alert(1)</script>")
    appeal(bench, case, "<b>no</b>")
    for shown in (
        bench.ask("creator").get("/refusals").text,
        bench.ask("reviewer").get("/review/view?kind=appeal").text,
    ):
        assert "<script>alert" not in shown
        assert "<b>no" not in shown


def test_a_copy_of_a_listed_picture_is_told_so_in_a_sentence(bench: Bench) -> None:
    refused_picture(bench.work, "known")
    told = words(bench.ask("creator").get("/refusals"))
    assert "Known picture" in told
    assert "a copy of one that nobody may make here" in told
