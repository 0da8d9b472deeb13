"""Somebody goes: all that acts for them ends at once; their pictures go where it was said."""

import functools
import io
import json
import zipfile
from contextlib import ExitStack

import httpx2
import pytest
from atelier_at_work import Work, agree, open_work
from desks import add_desks
from factories import member, team
from racing import race
from sqlalchemy import select
from test_api import APPLE, caller, make_key
from test_stream import listening

from inference import estates, lifecycle
from inference.generations import IN_FLIGHT, Generation, Picture
from licensing import audit, ledger, seat_history
from licensing.actors import Directory
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member, NoSeat, Organisation, Role
from licensing.usage import UsageLine
from webapp import account, departures, generate


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


@pytest.fixture
def admin(work: Work) -> Member:
    return work.running.member("demo-admin")


def gone(work: Work, admin: Member) -> Member:
    return account.remove(work.running.studio, admin, work.member.id)


def jobs_of(work: Work, person: Member) -> list[Generation]:
    with work.running.database.read() as session:
        return list(session.scalars(select(Generation).where(Generation.member_id == person.id)))


def kinds(work: Work) -> list[str]:
    with work.running.database.read() as session:
        changes = seat_history.changes(session, work.member.organisation_id, limit=20)
    return [change.kind for change in changes]


def assert_books_balance(work: Work) -> None:
    with work.running.database.read() as session:
        assert audit.audit(session) == []
        assert ledger.balance(session, work.member.organisation_id).held_micros == 0


@pytest.mark.parametrize("verb", [account.suspend, account.remove])
def test_who_goes_is_out_everywhere_when_the_call_returns(
    work: Work, admin: Member, verb: object
) -> None:
    assert callable(verb)
    _, token = make_key(work)
    browser, program = work.client(), caller(work, token)
    running = work.claim(work.submit())
    waiting = work.submit()
    with listening(browser) as stream:
        next(stream)
        verb(work.running.studio, admin, work.member.id)
        assert work.read(waiting).state == "cancelled"
        with work.running.database.transaction() as session:
            told = lifecycle.progress(session, running, step=2, steps=8, preview=None)
            assert told == "cancel", "the worker hears of it at its next step"
            assert lifecycle.cancel(session, running)
        assert browser.get("/gallery").status_code == 401
        assert program.get("/v1/account").status_code == 401
        assert program.post("/v1/generations", json=APPLE).status_code == 401
        list(stream)  # it ends; a stream that stays open would be waited for in vain
    with pytest.raises(NoSeat):
        generate.submit(work.running.studio, work.member, APPLE, "a request under way")
    assert_books_balance(work)


def test_a_picture_that_races_with_its_makers_removal_is_made_or_cancelled(
    work: Work, admin: Member
) -> None:
    def submit(number: int) -> str:
        try:
            return generate.submit(work.running.studio, work.member, APPLE, str(number)).state
        except NoSeat:
            return "refused"

    def leave() -> str:
        return account.remove(work.running.studio, admin, work.member.id).status

    race([functools.partial(submit, number) for number in range(5)] + [leave])
    left = {job.state for job in jobs_of(work, work.member)}
    assert not left & set(IN_FLIGHT), "nothing runs for somebody who is gone"
    assert_books_balance(work)


def test_resumed_members_sign_in_again_and_their_old_keys_stay_dead(
    work: Work, admin: Member
) -> None:
    _, token = make_key(work)
    account.suspend(work.running.studio, admin, work.member.id)
    account.resume(work.running.studio, admin, work.member.id)
    assert caller(work, token).get("/v1/account").status_code == 401
    assert work.client().get("/gallery").status_code == 200


def test_the_last_owner_cannot_go(work: Work) -> None:
    with work.running.database.transaction() as session:
        nord = session.get(Organisation, work.member.organisation_id)
        assert nord is not None
        first = member(session, nord, Role.OWNER, name="Olga Owner")
        second = member(session, nord, Role.OWNER, name="Oskar Owner")
    account.suspend(work.running.studio, first, second.id)
    directory = Directory(nord.id, "SCIM")
    for actor in (first, directory):
        for verb in (account.suspend, account.remove):
            with pytest.raises(Conflict, match="last owner"):
                verb(work.running.studio, actor, first.id)
    assert account.resume(work.running.studio, first, second.id).status == "active"
    assert account.remove(work.running.studio, directory, first.id).status == "removed"


def test_pictures_are_handed_on_and_the_bill_stays(work: Work, admin: Member) -> None:
    mine = work.finished("a red apple", images=2)
    work.finish(work.claim(work.submit("a shy apple", images=2)), refused=[1])
    agree(work, admin)
    with work.running.database.transaction() as session:
        row = session.get(Generation, mine.id)
        assert row is not None
        row.idempotency_key = "monday"
    generate.submit(work.running.studio, admin, APPLE, "monday")
    gone(work, admin)
    assert departures.hand_on(work.running.studio, admin, work.member.id, admin.id) == 2
    jobs = work.client("demo-admin").get("/gallery").json()["jobs"]
    assert {job["prompt"] for job in jobs} == {"a red apple", "a shy apple"}
    (picture, *_) = jobs[-1]["pictures"]
    assert work.client("demo-admin").get(f"/media/{picture['id']}").status_code == 200
    with work.running.database.read() as session:
        lines = session.scalars(select(UsageLine)).all()
    assert {line.member_name for line in lines} == {work.member.name}
    assert departures.hand_on(work.running.studio, admin, work.member.id, admin.id) == 0


def test_pictures_are_taken_out_as_one_file(work: Work, admin: Member) -> None:
    mine = work.finished("Äpfel, 苹果 & =SUM(A1)", images=2)
    work.finish(work.claim(work.submit("a shy apple", images=2)), refused=[1])
    lost = work.finished("a lost apple")
    work.running.studio.storage.delete(str(lost.pictures[0].key))
    gone(work, admin)
    add_desks(work.running)
    client = work.client("demo-admin")
    place = f"/team/members/{work.member.id}/pictures"
    assert client.get(place).json() == {"generations": 3, "pictures": 4}
    answer = client.get(f"{place}/archive.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as made:
        assert made.testzip() is None
        names = made.namelist()
        lines = [json.loads(line) for line in made.read("pictures.jsonl").splitlines()]
        content = made.read(lines[0]["file"])
    assert len(names) == 4, "three pictures and their list; the refused one stays with reviewers"
    assert [line["prompt"] for line in lines].count(mine.asked.prompt) == 2
    assert [line["file"] for line in lines].count(None) == 1
    assert content == work.running.studio.storage.read(str(mine.pictures[0].key))


def test_a_file_that_is_being_read_ends_with_its_readers_rights(
    work: Work, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estates, "PAGE_MAX", 1)
    for _ in range(3):
        work.finished()
    gone(work, admin)
    _, content = departures.export(work.running.studio, admin, work.member.id)
    next(content)
    with work.running.database.transaction() as session:
        row = session.get(Member, admin.id)
        assert row is not None
        row.role = Role.CREATOR
    with pytest.raises(NotAllowed):
        list(content)


def test_erasing_takes_pictures_prompts_and_the_name_and_leaves_the_money(
    work: Work, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estates, "PART_MAX", 2)
    made = [work.finished(f"my secret wish {number}") for number in range(3)]
    shown = work.finish(work.claim(work.submit("a shy apple", images=2)), refused=[1])
    keys = [
        key
        for job in [*made, shown]
        for p in job.pictures
        if not p.refused
        for key in (p.key, p.thumbnail_key)
        if key
    ]
    storage = work.running.studio.storage
    spent = work.balance().settled_micros
    with pytest.raises(Conflict, match="active"):
        departures.erase(work.running.studio, admin, work.member.id)
    account.suspend(work.running.studio, admin, work.member.id)
    with pytest.raises(Conflict, match="may return"):
        departures.erase(work.running.studio, admin, work.member.id)
    gone(work, admin)
    assert departures.erase(work.running.studio, admin, work.member.id) == 4
    assert not [key for key in keys if storage.path(key).exists()]
    with work.running.database.read() as session:
        row = session.get(Member, work.member.id)
        (kept,) = session.scalars(select(Picture)).all()
        assert row is not None
        assert kept.refused
        assert kept.key is not None
        assert storage.path(kept.key).is_file(), "the reviewers' evidence stays"
        assert "Cleo" not in row.name + row.email
        assert len(session.scalars(select(UsageLine)).all()) == 4
    left = jobs_of(work, work.member)
    assert "secret" not in json.dumps([job.request for job in left])
    assert work.balance().settled_micros == spent
    assert_books_balance(work)
    assert "forgotten" in kinds(work)
    assert departures.erase(work.running.studio, admin, work.member.id) == 0, "again is harmless"


def test_a_job_that_still_stops_is_waited_for(work: Work, admin: Member) -> None:
    running = work.claim(work.submit())
    gone(work, admin)
    with pytest.raises(Conflict, match="still stopping"):
        departures.erase(work.running.studio, admin, work.member.id)
    with work.running.database.transaction() as session:
        assert lifecycle.cancel(session, running)
    assert departures.erase(work.running.studio, admin, work.member.id) == 0


def test_admins_of_another_organisation_see_nobody(work: Work, admin: Member) -> None:
    work.finished()
    gone(work, admin)
    stranger = team(work.running.database)
    studio = work.running.studio
    for attempt in (
        lambda: departures.left_behind(studio, stranger.owner, work.member.id),
        lambda: departures.hand_on(studio, stranger.owner, work.member.id, stranger.creator.id),
        lambda: departures.hand_on(studio, admin, work.member.id, stranger.creator.id),
        lambda: departures.export(studio, stranger.owner, work.member.id),
        lambda: departures.erase(studio, stranger.owner, work.member.id),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert len(jobs_of(work, work.member)) == 1


def test_only_admins_reach_the_routes_and_only_for_those_who_left(work: Work) -> None:
    add_desks(work.running)
    place = f"/team/members/{work.member.id}/pictures"
    asked = {
        "demo-creator": {403},
        "demo-finance": {403},
        "demo-admin": {409},
    }
    for subject, statuses in asked.items():
        client = work.client(subject)
        answers: list[httpx2.Response] = [
            client.get(place),
            client.get(f"{place}/archive.zip"),
            client.post(f"{place}/hand-on", data={"to": str(work.member.id)}),
            client.post(f"{place}/erase"),
        ]
        assert {answer.status_code for answer in answers} == statuses, subject


def test_heirs_are_active_colleagues(work: Work, admin: Member) -> None:
    finance = work.running.member("demo-finance")
    work.finished()
    gone(work, admin)
    account.suspend(work.running.studio, admin, finance.id)
    with pytest.raises(Conflict, match="not active"):
        departures.hand_on(work.running.studio, admin, work.member.id, finance.id)
    assert len(jobs_of(work, work.member)) == 1
