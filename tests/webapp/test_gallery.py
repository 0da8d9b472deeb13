"""The gallery: a member's own pictures with all that made them, a page at a time."""

from contextlib import ExitStack

import pytest
from atelier_at_work import Work, open_work


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
