"""The review page: refused prompts and pictures, for the reviewers of the organisation alone."""

import re
from contextlib import ExitStack

import httpx2
import pytest
from atelier_at_work import Work, open_work
from desks import Desks, add_desks, open_desks
from factories import team

from inference.generations import Generation
from licensing import moderation
from licensing.moderation import Action, PromptRefused, Verdict
from licensing.seats import Member


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ)


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    work = open_work(stack, environ)
    add_desks(work.running)
    return work


def words(answer: httpx2.Response) -> str:
    """Return what a person reads."""
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def refuse(desks: Desks, member: Member, excerpt: str, category: str = "hate") -> Verdict:
    with desks.running.database.transaction() as session:
        return moderation.record(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=None,
            subject="prompt",
            action="block",
            category=category,
            source="rules:test",
            excerpt=excerpt,
        )


def judge(work: Work, job: Generation, index: int, action: Action) -> Verdict:
    """Record what the worker's filter said to one picture."""
    with work.running.database.transaction() as session:
        return moderation.record(
            session,
            organisation_id=job.organisation_id,
            member_id=job.member_id,
            generation_id=job.id,
            picture_index=index,
            subject="image",
            action=action,
            category=None if action == "allow" else "sexual",
            score=0.93,
            source="classifier:test",
            excerpt=job.asked.prompt,
        )


def test_a_prompt_that_submit_refused_is_there_for_the_reviewer(work: Work) -> None:
    with pytest.raises(PromptRefused):
        work.submit("a nude child")
    read = words(work.client("demo-reviewer").get("/review/view"))
    assert "Refused" in read
    assert "a nude child" in read
    assert "Prompt by Cleo Marchetti · caught by rules:" in read


def test_nothing_refused_is_said_so(desks: Desks) -> None:
    read = words(desks.ask(desks.team.reviewer).get("/review/view"))
    assert "Nothing was refused." in read


def test_prompts_are_words_and_never_markup(desks: Desks) -> None:
    refuse(desks, desks.team.creator, "<script>alert(1)</script> ${7*7} {{7*7}}")
    text = desks.ask(desks.team.reviewer).get("/review/view").text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ${7*7} {{7*7}}" in text


def test_cases_are_filtered_by_category_and_come_in_pages(desks: Desks) -> None:
    for number in range(30):
        refuse(desks, desks.team.creator, f"words {number:02d}", ["hate", "weapons"][number % 2])
    client = desks.ask(desks.team.reviewer)
    first = client.get("/review/view")
    assert "Prompts and pictures 30 Prompts 30 Pictures 0" in words(first)
    assert "Hate 15" in words(first)
    assert first.text.count('class="case"') == 24
    older = re.search(r"before=(\d+)", first.text)
    assert older
    rest = words(client.get(f"/review/view?before={older[1]}"))
    assert "words 05" in rest
    assert "words 06" not in rest
    weapons = client.get("/review/view?category=weapons").text
    assert weapons.count('class="case"') == 15
    assert "words 00" not in weapons
    assert "Nothing here fits." in words(client.get("/review/view?subject=image"))
    assert "Nothing here fits." in words(client.get("/review/view?category=<b>"))
    assert client.get("/review/view?subject=poem").status_code == 422


def test_the_reviewer_sees_a_refused_picture_and_its_maker_does_not(work: Work) -> None:
    job = work.finish(work.claim(work.submit(images=2)), refused=[1])
    refused = judge(work, job, 1, "block")
    seen = judge(work, job, 0, "review")
    reviewer = work.client("demo-reviewer")
    page = reviewer.get("/review/view").text
    assert f'src="/review/media/{refused.id}/thumbnail"' in page
    assert page.count("Show picture") == 2
    assert "Delivered, please look" in page
    for verdict in (refused, seen):
        answer = reviewer.get(f"/review/media/{verdict.id}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["cache-control"] == "no-store"
        small = reviewer.get(f"/review/media/{verdict.id}/thumbnail")
        assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    for subject in ("demo-creator", "demo-admin", "demo-finance"):
        assert work.client(subject).get(f"/review/media/{refused.id}").status_code == 403
    assert work.client().get(f"/media/{job.pictures[1].id}").status_code == 404
    nobody = work.running.browser(accept="image/png").get(f"/review/media/{refused.id}")
    assert nobody.status_code == 401


def test_a_picture_that_was_simply_allowed_is_none_of_the_reviewer_s_business(work: Work) -> None:
    job = work.finished()
    allowed = judge(work, job, 0, "allow")
    reviewer = work.client("demo-reviewer")
    for address in (allowed.id, allowed.id + 999, "abc", "-1", "9" * 30, "%D9%A1"):
        assert reviewer.get(f"/review/media/{address}").status_code == 404
    assert reviewer.get(f"/media/{job.pictures[0].id}").status_code == 404


def test_another_organisation_s_cases_are_not_there(work: Work) -> None:
    job = work.finish(work.claim(work.submit(images=2)), refused=[1])
    verdict = judge(work, job, 1, "block")
    strangers = Desks(work.running, team(work.running.database))
    theirs = strangers.ask(strangers.team.reviewer)
    assert theirs.get(f"/review/media/{verdict.id}").status_code == 404
    assert "Nothing was refused." in words(theirs.get("/review/view"))


@pytest.mark.parametrize("role", ["admin", "creator", "finance", None])
def test_the_page_is_the_reviewer_s_and_the_owner_s_alone(desks: Desks, role: str | None) -> None:
    verdict = refuse(desks, desks.team.creator, "words")
    client = (
        desks.running.browser(accept="application/json")
        if role is None
        else desks.ask(getattr(desks.team, role))
    )
    for path in ("view", f"media/{verdict.id}", f"media/{verdict.id}/thumbnail"):
        assert client.get(f"/review/{path}").status_code == (401 if role is None else 403)
    assert desks.ask(desks.team.owner).get("/review/view").status_code == 200
