"""Sexual content with minors: locked in the database, open to named reviewers, with a checklist."""

import io
import zipfile
from contextlib import ExitStack
from datetime import timedelta

import pytest
from at_bench import (
    Bench,
    decide,
    judge,
    look,
    open_bench,
    open_cases,
    read,
    refused_picture,
    words,
)
from PIL import Image
from sqlalchemy import Executable, delete, select, text, update
from sqlalchemy.exc import IntegrityError

from inference.generations import Generation, Picture
from inference.orphans import remove_orphans
from licensing import evidence, review_access, roster
from licensing.cases import ReviewCase
from licensing.db import now
from licensing.evidence import KEPT, EvidenceLock
from webapp import account, departures

MINORS = "minors_sexual"


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, {**environ, "ATELIER_HOTLINE": "Hotline of Nord, +49 1"})


def grant(bench: Bench, role: str = "reviewer") -> None:
    member = bench.second if role == "second" else getattr(bench.desks.team, role)
    data = {"is_given": "true", "reason": "She was trained for it"}
    assert bench.ask("owner").post(f"/review/access/{member.id}", data=data).status_code == 200


def lock_of(bench: Bench, case: ReviewCase) -> EvidenceLock | None:
    with bench.work.running.database.read() as session:
        return evidence.lock_of(session, case.generation_id, case.picture_index)


def test_it_is_urgent_and_closed_to_reviewers_without_the_access(bench: Bench) -> None:
    _, case = refused_picture(bench.work, MINORS)
    assert case.due_at == case.opened_at + timedelta(hours=24)
    reviewer = bench.ask("reviewer")
    shown = words(reviewer.get("/review/view"))
    assert "This evidence is locked" in shown
    assert "a red apple" not in shown
    at = f"/review/cases/{case.id}"
    assert reviewer.get(f"{at}/veil").status_code == 404
    assert look(reviewer, case).status_code == 403
    assert reviewer.get(f"{at}/picture").status_code == 403
    assert decide(reviewer, case, "block").status_code == 403
    assert reviewer.post(f"{at}/steps/seen", data={"note": "x"}).status_code == 403
    assert bench.ask("owner").get(f"{at}/picture").status_code == 403, "being an owner is not it"


@pytest.mark.parametrize("category", ["csam", "minors"])
def test_what_a_list_calls_it_is_locked_as_well(bench: Bench, category: str) -> None:
    _, case = refused_picture(bench.work, category)
    assert lock_of(bench, case) is not None
    assert case.due_at == case.opened_at + timedelta(hours=24)
    refusals = words(bench.ask("creator").get("/refusals"))
    assert "Sexual content with minors" in refusals or "child or a teenager" in refusals


def test_a_named_reviewer_sees_it_grey_and_its_colours_on_another_reason(bench: Bench) -> None:
    _, case = refused_picture(bench.work, MINORS)
    grant(bench)
    reviewer = bench.ask("reviewer")
    at = f"/review/cases/{case.id}"
    assert reviewer.get(f"{at}/veil").status_code == 404
    assert reviewer.get(f"{at}/picture").status_code == 404
    look(reviewer, case)
    grey = reviewer.get(f"{at}/picture")
    assert Image.open(io.BytesIO(grey.content)).mode == "L"
    assert reviewer.get(f"{at}/picture?colour=true").status_code == 404
    look(reviewer, case, "colour")
    assert Image.open(io.BytesIO(reviewer.get(f"{at}/picture?colour=true").content)).mode == "RGB"


def test_the_access_is_given_by_another_owner_with_a_reason_and_taken_back(bench: Bench) -> None:
    _, case = refused_picture(bench.work, MINORS)
    owner, team = bench.ask("owner"), bench.desks.team
    given = {"is_given": "true", "reason": "She was trained for it"}
    for client, member, expected in (
        (owner, team.owner, 403),
        (owner, team.creator, 404),
        (bench.ask("reviewer"), bench.second, 403),
    ):
        answer = client.post(f"/review/access/{member.id}", data=given)
        assert answer.status_code == expected
    nothing = owner.post(f"/review/access/{team.reviewer.id}", data={"is_given": "true"})
    assert nothing.status_code == 422
    assert "Nobody may open locked evidence" in words(owner.get("/review/view?view=access"))
    grant(bench)
    assert look(bench.ask("reviewer"), case).status_code == 200
    taken = {"is_given": "false", "reason": "She left the desk"}
    owner.post(f"/review/access/{team.reviewer.id}", data=taken)
    assert bench.ask("reviewer").get(f"/review/cases/{case.id}/picture").status_code == 403


def test_whoever_is_no_reviewer_any_more_has_no_access(bench: Bench) -> None:
    grant(bench)
    with bench.work.running.database.transaction() as session:
        member = roster.suspend(session, bench.desks.team.owner, bench.reviewer.id)
        assert not review_access.has(session, member)


def test_no_verb_deletes_or_copies_it(bench: Bench) -> None:
    job, case = refused_picture(bench.work, MINORS)
    studio, owner = bench.work.running.studio, bench.desks.team.owner
    picture = job.pictures[1]
    assert picture.key is not None
    account.remove(studio, owner, bench.creator.id)
    _, content = departures.export(studio, owner, bench.creator.id)
    names = zipfile.ZipFile(io.BytesIO(b"".join(content))).namelist()
    assert len([name for name in names if name.endswith(".png")]) == 1
    assert not any(picture.id.hex[:8] in name for name in names)
    departures.erase(studio, owner, bench.creator.id)
    remove_orphans(studio.database, studio.storage, picture.id.bytes[0], now() + timedelta(days=9))
    assert studio.storage.path(picture.key).is_file()
    with studio.database.read() as session:
        kept = session.get_one(Generation, job.id)
        assert kept.asked.prompt == "a red apple", "the prompt is evidence, too"
        assert session.get(Picture, picture.id) is not None
    assert read(bench.work, case).generation_id == job.id


def test_what_is_said_to_be_evidence_is_not_erased_before_somebody_has_looked(
    bench: Bench,
) -> None:
    job = bench.work.finished()
    (picture,) = job.pictures
    told = {
        "category": MINORS,
        "link": f"/media/{picture.id}",
        "statement": "This shows my child.",
        "name": "A Parent",
        "contact": "parent@example.org",
        "truth": "true",
    }
    assert bench.work.running.browser().post("/report", data=told).status_code == 200
    (case,) = open_cases(bench.work, "take_down")
    studio, owner = bench.work.running.studio, bench.desks.team.owner
    account.remove(studio, owner, bench.creator.id)
    departures.erase(studio, owner, bench.creator.id)
    assert studio.storage.path(picture.key or "").is_file()
    grant(bench)
    assert decide(bench.ask("reviewer"), case, "allow", reason="No child.").status_code == 200
    departures.erase(studio, owner, bench.creator.id)
    assert not studio.storage.path(picture.key or "").is_file()


FORBIDDEN: tuple[Executable, ...] = (
    delete(Picture).where(Picture.index == 1),
    update(Picture).where(Picture.index == 1).values(refused=False),
    update(Picture).where(Picture.index == 1).values(key=None, thumbnail_key=None),
    update(Generation).values(request={"prompt": "(erased)"}),
    delete(EvidenceLock),
    update(EvidenceLock).values(keep_until=EvidenceLock.keep_until - timedelta(days=1)),
    text("TRUNCATE evidence_lock"),
)


def test_the_database_itself_refuses(bench: Bench) -> None:
    refused_picture(bench.work, MINORS)
    for statement in FORBIDDEN:
        with (
            pytest.raises(IntegrityError),
            bench.work.running.database.transaction() as session,
        ):
            session.execute(statement)


def test_after_its_time_the_lock_lets_go(bench: Bench) -> None:
    _, case = refused_picture(bench.work, MINORS)
    with bench.work.running.database.transaction() as session:
        session.execute(text("ALTER TABLE evidence_lock DISABLE TRIGGER keep_evidence_lock"))
        past = now() - KEPT - timedelta(days=1)
        session.execute(
            update(EvidenceLock).values(locked_at=past, keep_until=past + timedelta(days=365))
        )
        session.execute(text("ALTER TABLE evidence_lock ENABLE TRIGGER keep_evidence_lock"))
    with bench.work.running.database.transaction() as session:
        session.execute(delete(Picture).where(Picture.index == 1))
        assert evidence.lock_of(session, case.generation_id, 1) is not None, "the row stays"


def test_a_decision_that_clears_somebody_releases_no_evidence(bench: Bench) -> None:
    job, case = refused_picture(bench.work, MINORS)
    grant(bench)
    answer = decide(bench.ask("reviewer"), case, "allow", reason="A doll on a shelf.")
    assert answer.status_code == 200
    assert bench.ask("creator").get(f"/media/{job.pictures[1].id}").status_code == 404
    assert "Allowed by a reviewer" in words(bench.ask("creator").get("/refusals"))


def test_a_reviewer_s_decision_locks_what_the_filter_let_through(bench: Bench) -> None:
    job = bench.work.finished()
    case = judge(bench.work, job, 0, "review")
    assert lock_of(bench, case) is None
    decide(bench.ask("reviewer"), case, "block", category=MINORS)
    lock = lock_of(bench, case)
    assert lock is not None
    assert bench.ask("creator").get(f"/media/{job.pictures[0].id}").status_code == 404
    assert bench.ask("reviewer").get(f"/review/cases/{case.id}/picture").status_code == 403


def test_the_checklist_says_who_and_when_and_the_report_begins_the_year_anew(
    bench: Bench,
) -> None:
    _, case = refused_picture(bench.work, MINORS)
    grant(bench)
    reviewer = bench.ask("reviewer")
    assert "Hotline of Nord, +49 1" in words(reviewer.get("/review/view"))
    before = lock_of(bench, case)
    assert before is not None
    steps = f"/review/cases/{case.id}/steps"
    assert reviewer.post(f"{steps}/reported", data={"note": " "}).status_code == 422
    done = reviewer.post(f"{steps}/reported", data={"note": "Receipt 4711"})
    assert "Receipt 4711" in words(done)
    assert "Rui Review" in words(done)
    assert reviewer.post(f"{steps}/reported", data={"note": "again"}).status_code == 409
    assert reviewer.post(f"{steps}/nothing").status_code == 404
    after = lock_of(bench, case)
    assert after is not None
    assert after.keep_until > before.keep_until


def test_an_appeal_about_it_is_as_closed(bench: Bench) -> None:
    _, case = refused_picture(bench.work, MINORS)
    bench.ask("creator").post(f"/refusals/{case.id}/appeal", data={"words": "A doll."})
    (answering,) = open_cases(bench.work, "appeal")
    reviewer = bench.ask("reviewer")
    assert look(reviewer, answering).status_code == 403
    assert decide(reviewer, answering, "allow").status_code == 403
    assert reviewer.get(f"/review/cases/{answering.id}/veil").status_code == 404
    with bench.work.running.database.read() as session:
        assert session.scalars(select(EvidenceLock)).one().case_id == case.id
