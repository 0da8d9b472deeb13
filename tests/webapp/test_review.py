"""The reviewer's desk: the queue and its clocks, looks that are written down, decisions."""

import re
from contextlib import ExitStack
from datetime import timedelta

import pytest
from at_bench import (
    Bench,
    decide,
    draw_on,
    hash_pictures,
    judge,
    look,
    open_bench,
    open_cases,
    read,
    refuse_prompt,
    refused_picture,
    textured,
    words,
)
from desks import Desks
from factories import team
from racing import race
from sqlalchemy import func, select, text

from inference.safety.known import KnownPictures
from licensing import cases, usage
from licensing.decisions import Decision
from licensing.looks import Look
from licensing.moderation import PromptRefused
from licensing.seats import Status, get_member


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, environ)


def count(bench: Bench, table: type[Look] | type[Decision]) -> int:
    with bench.work.running.database.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_a_prompt_that_submit_refused_is_there_for_the_reviewer(bench: Bench) -> None:
    with pytest.raises(PromptRefused):
        bench.work.submit("a nude child")
    read_ = words(bench.ask("reviewer").get("/review/view"))
    assert "a nude child" in read_
    assert "Made by Cleo Creator · 1 refusal so far" in read_
    assert "rules:" in read_


def test_nothing_to_do_is_said_so(bench: Bench) -> None:
    reviewer = bench.ask("reviewer")
    assert "Nothing waits for you." in words(reviewer.get("/review/view"))
    assert "Nothing was decided yet." in words(reviewer.get("/review/view?closed=true"))


def test_prompts_are_words_and_never_markup(bench: Bench) -> None:
    refuse_prompt(bench.work, bench.creator, "<script>alert(1)</script> ${7*7} {{7*7}}")
    shown = bench.ask("reviewer").get("/review/view").text
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ${7*7} {{7*7}}" in shown


def test_the_queue_is_filtered_comes_in_parts_and_begins_with_what_is_urgent(
    bench: Bench,
) -> None:
    for number in range(26):
        category = ["hate", "weapons"][number % 2]
        refuse_prompt(bench.work, bench.creator, f"words {number:02d}", category)
    job = bench.work.finished()
    seen = judge(bench.work, job, 0, "review")
    client = bench.ask("reviewer")
    first = client.get("/review/view").text
    numbers = [int(found) for found in re.findall(r'data-case="(\d+)"', first)]
    assert numbers[0] == seen.id, "a delivered picture has a clock, refused prompts have none"
    assert len(numbers) == 24
    rest = client.get("/review/view?part=2").text
    assert len(re.findall(r'data-case="', rest)) == 3
    weapons = client.get("/review/view?kind=prompt&category=weapons").text
    assert len(re.findall(r'data-case="', weapons)) == 13
    assert "Nothing here fits." in words(client.get("/review/view?kind=take_down"))
    assert "Nothing here fits." in words(client.get("/review/view?category=<b>"))
    assert client.get("/review/view?kind=poem").status_code == 422


def test_a_clock_says_how_late_a_case_is(bench: Bench) -> None:
    job = bench.work.finished()
    case = judge(bench.work, job, 0, "review")
    client = bench.ask("reviewer")
    assert "71 h left" in words(client.get("/review/view"))
    with bench.work.running.database.transaction() as session:
        session.get_one(cases.ReviewCase, case.id).due_at = case.opened_at - timedelta(hours=5)
    assert "1 case is late." in words(client.get("/review/view"))
    assert "5 h late" in words(client.get("/review/view"))


def test_a_picture_is_specks_until_a_reason_is_on_record(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    reviewer = bench.ask("reviewer")
    at = f"/review/cases/{case.id}"
    specks = reviewer.get(f"{at}/veil")
    assert (specks.headers["content-type"], len(specks.content) < 500) == ("image/png", True)
    assert reviewer.get(f"{at}/picture").status_code == 404
    assert f"{at}/picture" not in reviewer.get("/review/view").text
    nothing = reviewer.post(f"{at}/look", data={"what": "picture", "reason": " "})
    assert (nothing.status_code, count(bench, Look)) == (422, 0)
    assert f"{at}/picture" in look(reviewer, case).text
    shown = reviewer.get(f"{at}/picture")
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    with bench.work.running.database.read() as session:
        written = session.scalars(select(Look)).one()
    assert (written.reviewer_id, written.what, written.reason) == (
        bench.reviewer.id,
        "picture",
        "To decide this case",
    )
    # A colleague's look is not one's own, and yesterday's is over.
    assert bench.ask("second").get(f"{at}/picture").status_code == 404
    age(bench, timedelta(minutes=31))
    assert reviewer.get(f"{at}/picture").status_code == 404


def age(bench: Bench, by: timedelta) -> None:
    """Let the looks have been some time ago; the log itself refuses such a change."""
    with bench.work.running.database.transaction() as session:
        session.execute(text("ALTER TABLE look DISABLE TRIGGER append_only"))
        session.execute(text("UPDATE look SET at = at - CAST(:by AS interval)"), {"by": by})
        session.execute(text("ALTER TABLE look ENABLE TRIGGER append_only"))


def test_a_prompt_that_was_let_through_is_private_until_a_reason_is_on_record(
    bench: Bench,
) -> None:
    job = bench.work.finished("two people fighting")
    case = judge(bench.work, job, 0, "review")
    reviewer = bench.ask("reviewer")
    before = words(reviewer.get("/review/view"))
    assert "The prompt was not refused, so it is private." in before
    assert "two people fighting" not in before
    assert "two people fighting" in words(look(reviewer, case, "prompt"))
    assert count(bench, Look) == 1


def test_a_released_picture_is_in_the_gallery_and_stays_free(bench: Bench) -> None:
    job, case = refused_picture(bench.work)
    creator = bench.ask("creator")
    address = f"/media/{job.pictures[1].id}"
    assert creator.get(address).status_code == 404
    before = bench.work.balance()
    answer = decide(bench.ask("reviewer"), case, "allow", reason="A statue.")
    assert "free of charge" in words(answer)
    assert creator.get(address).status_code == 200
    (shown,) = creator.get("/gallery").json()["jobs"]
    assert [picture["refused"] for picture in shown["pictures"]] == [False, False]
    assert bench.work.balance() == before
    with bench.work.running.database.read() as session:
        (line,) = session.scalars(select(usage.UsageLine)).all()
    assert line.images == 1, "the bill has what was delivered and paid then"


def test_a_generation_that_was_wholly_refused_is_finished_by_a_release(bench: Bench) -> None:
    claimed = bench.work.claim(bench.work.submit())
    job = bench.work.refuse_all(claimed)
    case = judge(bench.work, job, 0, "block")
    assert bench.ask("creator").get("/gallery").json()["jobs"] == []
    decide(bench.ask("reviewer"), case, "allow")
    (shown,) = bench.ask("creator").get("/gallery").json()["jobs"]
    assert (shown["state"], shown["price"]) == ("finished", "$0.00")


def test_a_delivered_picture_is_taken_back_everywhere(bench: Bench) -> None:
    job = bench.work.finished()
    case = judge(bench.work, job, 0, "review")
    before = bench.work.balance()
    decide(bench.ask("reviewer"), case, "block", category="harassment", reason="It mocks her.")
    creator = bench.ask("creator")
    for path in (f"/media/{job.pictures[0].id}", f"/media/{job.pictures[0].id}/thumbnail"):
        assert creator.get(path).status_code == 404
    (shown,) = creator.get("/gallery").json()["jobs"]
    assert shown["pictures"][0]["refused"]
    assert bench.work.balance() == before
    told = words(creator.get("/refusals"))
    assert "It mocks her." in told
    assert "Rui Review" not in told, "nobody learns which reviewer decided"


def test_two_reviewers_decide_a_case_once(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    first, second, third = (bench.ask(role) for role in ("reviewer", "second", "owner"))
    answers = race(
        [
            lambda: decide(first, case, "allow").status_code,
            lambda: decide(second, case, "block").status_code,
            lambda: decide(third, case, "allow").status_code,
        ]
    )
    assert sorted(answers) == [200, 409, 409]
    assert count(bench, Decision) == 1


def test_a_decision_is_reversed_by_somebody_else_alone(bench: Bench) -> None:
    job, case = refused_picture(bench.work)
    first, second = bench.ask("reviewer"), bench.ask("second")
    decide(first, case, "allow")
    decided = read(bench.work, case)
    own = decide(first, decided, "block")
    assert (own.status_code, own.json()["error"]["code"]) == (403, "second_reviewer_needed")
    stale = decide(second, case, "block")  # of a page from before the decision
    assert stale.status_code == 409
    assert decide(second, decided, "block").status_code == 200
    assert bench.ask("creator").get(f"/media/{job.pictures[1].id}").status_code == 404
    history = words(first.get(f"/review/view?case={case.id}"))
    assert f"Sena Second blocked case {case.id}, reversing the decision before" in history


def test_nobody_decides_about_themselves(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.reviewer, "words")
    answer = decide(bench.ask("reviewer"), case, "allow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert "This case is about you." in words(bench.ask("reviewer").get("/review/view"))
    assert decide(bench.ask("owner"), case, "allow").status_code == 200


def test_a_blocked_hash_stops_the_next_copy_and_takes_back_those_that_are_out(
    bench: Bench,
) -> None:
    original, copy = bench.work.finished(), bench.work.finished("another apple")
    image = textured()
    draw_on(bench.work, original, 0, image)
    draw_on(bench.work, copy, 0, image.resize((200, 200)))
    hash_pictures(bench.work)
    case = judge(bench.work, original, 0, "review")
    answer = decide(bench.ask("reviewer"), case, "block", blocks_hash="true")
    assert "Its hash is on the block list. 1 copy was taken back." in words(answer)
    assert bench.ask("creator").get(f"/media/{copy.pictures[0].id}").status_code == 404
    known = KnownPictures()
    with bench.work.running.database.read() as session:
        known.refresh(session)
    verdict = known.check(image.resize((300, 300)), bench.desks.team.id)
    assert verdict is not None
    assert (verdict.action, verdict.category) == ("block", "sexual")


def test_a_picture_without_a_hash_is_said_so_and_nothing_is_decided(bench: Bench) -> None:
    _, case = refused_picture(bench.work)  # one colour
    answer = decide(bench.ask("reviewer"), case, "block", blocks_hash="true")
    assert answer.status_code == 422
    assert read(bench.work, case).outcome is None


def test_suspending_over_a_case_ends_sessions_and_jobs(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    creator = bench.ask("creator")
    job = bench.work.submit()
    answer = decide(bench.ask("reviewer"), case, "block", suspends="true")
    assert "The member is suspended." in words(answer)
    assert creator.get("/gallery").status_code == 401
    assert bench.work.read(job).state == "cancelled"
    with bench.work.running.database.read() as session:
        found = get_member(session, bench.creator.id)
    assert found is not None
    assert found.status == Status.SUSPENDED


def test_a_reviewer_suspends_no_owner(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.desks.team.owner, "words")
    answer = decide(bench.ask("reviewer"), case, "block", suspends="true")
    assert answer.status_code == 403
    assert read(bench.work, case).outcome is None


def test_after_a_decision_the_next_case_is_open(bench: Bench) -> None:
    first = refuse_prompt(bench.work, bench.creator, "the first")
    second = refuse_prompt(bench.work, bench.creator, "the second")
    shown = decide(bench.ask("reviewer"), first, "block").text
    assert f'data-current="{second.id}"' in shown


def test_a_decision_needs_its_reason(bench: Bench) -> None:
    case = refuse_prompt(bench.work, bench.creator, "words")
    assert decide(bench.ask("reviewer"), case, "block", reason="  ").status_code == 422
    assert decide(bench.ask("reviewer"), case, "block", reason="x" * 501).status_code == 422
    assert read(bench.work, case).outcome is None


def test_a_report_that_is_dismissed_releases_nothing(bench: Bench) -> None:
    job, case = refused_picture(bench.work)
    with bench.work.running.database.transaction() as session:
        subject = cases.Subject(bench.creator.id, job.id, 1)
        reported = cases.open_case(
            session, bench.desks.team.id, "report", category="rights", subject=subject
        )
    decide(bench.ask("reviewer"), reported, "allow")
    assert bench.ask("creator").get(f"/media/{job.pictures[1].id}").status_code == 404
    assert read(bench.work, case).outcome is None


def test_another_organisation_s_cases_are_not_there(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    running = bench.work.running
    strangers = Desks(running, team(running.database))
    theirs = strangers.ask(strangers.team.reviewer)
    at = f"/review/cases/{case.id}"
    for path in (f"{at}/veil", f"{at}/picture", f"{at}/look", f"{at}/decide"):
        assert theirs.get(path).status_code == 404
    assert decide(theirs, case, "allow").status_code == 404
    assert look(theirs, case).status_code == 404
    assert theirs.get(f"/review/view?case={case.id}").status_code == 404
    assert "Nothing waits for you." in words(theirs.get("/review/view"))


def test_the_desk_is_the_reviewer_s_and_the_owner_s_alone(bench: Bench) -> None:
    _, case = refused_picture(bench.work)
    nobody = bench.work.running.browser(accept="application/json")
    closed = [(bench.ask(role), 403) for role in ("admin", "creator", "finance")]
    for client, status in [*closed, (nobody, 401)]:
        for path in (
            "view",
            f"cases/{case.id}/veil",
            f"cases/{case.id}/picture",
            "transparency.csv",
        ):
            assert client.get(f"/review/{path}").status_code == status
    assert bench.ask("owner").get("/review/view").status_code == 200


def test_what_is_no_number_is_no_case(bench: Bench) -> None:
    reviewer = bench.ask("reviewer")
    for address in ("999", "abc", "-1", "9" * 30, "%D9%A1"):
        assert reviewer.get(f"/review/cases/{address}/veil").status_code == 404


def test_a_case_about_a_delivered_prompt_takes_all_its_pictures_back(bench: Bench) -> None:
    job = bench.work.finished(images=2)
    with bench.work.running.database.transaction() as session:
        subject = cases.Subject(bench.creator.id, job.id)
        case = cases.open_case(
            session,
            bench.desks.team.id,
            "prompt",
            category="harassment",
            subject=subject,
            was_delivered=True,
        )
    reviewer, second = bench.ask("reviewer"), bench.ask("second")
    decide(reviewer, case, "block")
    creator = bench.ask("creator")
    statuses = [creator.get(f"/media/{picture.id}").status_code for picture in job.pictures]
    assert statuses == [404, 404]
    decide(second, read(bench.work, case), "allow")
    statuses = [creator.get(f"/media/{picture.id}").status_code for picture in job.pictures]
    assert statuses == [200, 200]
    assert not open_cases(bench.work, "prompt")
