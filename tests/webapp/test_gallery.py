"""The gallery: a member's own pictures with all that made them, a page at a time."""

from contextlib import ExitStack

import pytest
from atelier_at_work import Work, open_work
from sqlalchemy import select

from inference.events import Event
from inference.generations import Generation, Picture
from licensing import moderation
from licensing.usage import UsageLine


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


def test_a_job_in_the_gallery_says_how_it_was_made(work: Work) -> None:
    work.finished("a red apple", images=2, seed=7, width=256)
    (job,) = work.client().get("/gallery").json()["jobs"]
    expected = {
        "state": "finished",
        "prompt": "a red apple",
        "model": "pocket-turbo",
        "model_name": "Pocket Turbo",
        "width": 256,
        "height": 128,
        "images": 2,
        "seed": 7,
        "price": "$0.03",
    }
    assert {name: job[name] for name in expected} == expected
    assert [picture["seed"] for picture in job["pictures"]] == [7, 8]


def test_only_paid_pictures_are_priced(work: Work) -> None:
    work.finish(work.claim(work.submit(images=2)), refused=[0])
    (job,) = work.client().get("/gallery").json()["jobs"]
    assert job["price"] == "$0.015"
    assert [picture["refused"] for picture in job["pictures"]] == [True, False]


def test_pages_follow_each_other_without_gap_or_repeat(work: Work) -> None:
    made = [str(work.finished(f"picture {number}").id) for number in range(5)]
    client = work.client()
    seen: list[str] = []
    before: dict[str, str] = {}
    for size in (2, 2, 1):
        page = client.get("/gallery", params={"limit": "2", **before}).json()
        assert len(page["jobs"]) == size
        seen += [job["id"] for job in page["jobs"]]
        before = {"before": page["next"]}
    assert page["next"] is None
    assert seen == made[::-1]


def test_a_gallery_holds_nobody_elses_pictures_and_no_unfinished_jobs(work: Work) -> None:
    mine = work.finished()
    work.submit()
    assert work.client("demo-admin").get("/gallery").json() == {"jobs": [], "next": None}
    page = work.client("demo-admin").get("/gallery", params={"before": str(mine.id)})
    assert page.json()["jobs"] == [], "a stranger's job is no place to begin from"
    assert len(work.client().get("/gallery").json()["jobs"]) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=1000", "before=x"])
def test_a_wrong_page_is_refused(work: Work, query: str) -> None:
    assert work.client().get(f"/gallery?{query}").status_code == 422


def test_without_a_session_there_is_no_gallery(work: Work) -> None:
    answer = work.running.browser(accept="application/json").get("/gallery")
    assert answer.status_code == 401


def test_a_search_finds_words_of_a_prompt_in_any_order_and_case(work: Work) -> None:
    for prompt in ("a Red apple on blue", "a red fox", "an apple, 100% green", "кот и яблоко"):
        work.finished(prompt)
    client = work.client()

    def found(words: str) -> list[str]:
        jobs = client.get("/gallery", params={"words": words}).json()["jobs"]
        return [job["prompt"] for job in jobs]

    assert found("apple RED") == ["a Red apple on blue"]
    assert found("100%") == ["an apple, 100% green"]
    assert found("ЯБЛОКО") == ["кот и яблоко"]
    assert found("%") == ["an apple, 100% green"], "a wildcard of the database is a letter here"
    assert found("pear") == found("\0pear") == []
    assert client.get("/gallery", params={"words": "a" * 201}).status_code == 422


def test_starred_pictures_can_be_seen_alone(work: Work) -> None:
    kept, _ = work.finished("a keeper"), work.finished("another")
    client = work.client()
    assert client.put(f"/gallery/{kept.id}/star").json()["starred"] is True
    starred = client.get("/gallery", params={"starred": "true"}).json()["jobs"]
    assert [job["prompt"] for job in starred] == ["a keeper"]
    assert client.delete(f"/gallery/{kept.id}/star").json()["starred"] is False
    assert client.get("/gallery", params={"starred": "true"}).json()["jobs"] == []
    assert client.put(f"/gallery/{work.submit().id}/star").status_code == 404, "not made yet"


def test_deleting_takes_pictures_and_prompt_and_leaves_the_bill(work: Work) -> None:
    job = work.finished("a secret apple", images=2)
    files = [work.running.studio.storage.path(picture.key or "") for picture in job.pictures]
    paid, client = work.balance(), work.client()
    assert client.delete(f"/gallery/{job.id}").json() == {"pictures": 2}
    assert not any(file.exists() for file in files)
    assert client.get(f"/media/{job.pictures[0].id}").status_code == 404
    assert client.get("/gallery").json()["jobs"] == []
    with work.running.database.read() as session:
        row = session.get_one(Generation, job.id)
        assert (row.request["prompt"], row.charged_micros) == ("(erased)", 30_000)
        line = session.scalars(select(UsageLine).where(UsageLine.generation_id == job.id)).one()
        assert (line.images, line.amount_micros) == (2, 30_000)
        told = session.scalars(select(Event.kind).where(Event.generation_id == job.id)).all()
        assert told == ["shelved"], "the previews are gone too"
    assert work.balance() == paid
    assert client.delete(f"/gallery/{job.id}").status_code == 404, "once"
    assert client.put(f"/gallery/{job.id}/star").status_code == 404


def test_a_refused_picture_is_no_maker_s_to_delete(work: Work) -> None:
    job = work.finish(work.claim(work.submit(images=2)), refused=[0])
    assert work.client().delete(f"/gallery/{job.id}").json() == {"pictures": 1}
    with work.running.database.read() as session:
        left = session.scalars(select(Picture).where(Picture.generation_id == job.id)).one()
    assert left.refused
    assert work.running.studio.storage.path(left.key or "").is_file()


def test_a_job_that_is_still_being_made_cannot_be_deleted(work: Work) -> None:
    job = work.claim(work.submit())
    assert work.client().delete(f"/gallery/{job.id}").status_code == 404
    assert work.client("demo-admin").delete(f"/gallery/{work.finish(job).id}").status_code == 404
    assert len(work.client().get("/gallery").json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("action", "category", "why"),
    [("review", "violence", "reviewer still has to look"), ("block", "minors", "reviewer")],
)
def test_what_a_reviewer_has_to_see_is_not_deleted_before(
    work: Work, action: moderation.Action, category: str, why: str
) -> None:
    job = work.finish(work.claim(work.submit("a red apple", images=2)), refused=[0])
    with work.running.database.transaction() as session:
        moderation.record(
            session,
            organisation_id=work.member.organisation_id,
            member_id=work.member.id,
            generation_id=job.id,
            picture_index=0,
            subject="image",
            action=action,
            category=category,
            source="test",
            excerpt="a red apple",
        )
    answer = work.client().delete(f"/gallery/{job.id}")
    assert answer.status_code == 409
    assert why in answer.json()["error"]["message"]
    with work.running.database.read() as session:
        kept = session.get_one(Generation, job.id)
    assert kept.request["prompt"] == "a red apple"
    path = work.running.studio.storage.path(job.pictures[1].key or "")
    assert path.is_file()
