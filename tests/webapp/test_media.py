"""Pictures reach the person who made them; to everybody else there is nothing there."""

import io
import uuid
from contextlib import ExitStack

import pytest
from atelier_at_work import Work, open_work
from PIL import Image

from inference import holdback
from webapp.media import file_name


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


def test_the_maker_gets_the_picture_and_its_thumbnail(work: Work) -> None:
    (picture,) = work.finished().pictures
    client = work.client()
    original = client.get(f"/media/{picture.id}")
    assert (original.status_code, original.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(original.content)).size == (128, 128)
    small = client.get(f"/media/{picture.id}/thumbnail")
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    for answer in (original, small):
        assert "private" in answer.headers["cache-control"]


def test_a_download_is_named_after_its_prompt_and_seed(work: Work) -> None:
    prompt = 'Ein roter Apfel; "flat"\r\nX-Evil: 1 ../../etc'
    (picture,) = work.finished(prompt, seed=42).pictures
    answer = work.client().get(f"/media/{picture.id}", params={"download": "1"})
    named = 'attachment; filename="ein-roter-apfel-flat-x-evil-1-etc-42.png"'
    assert answer.headers["content-disposition"] == named
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("thumbnail", ["", "/thumbnail"])
def test_a_stranger_and_a_missing_picture_look_the_same(work: Work, thumbnail: str) -> None:
    (picture,) = work.finished().pictures
    stranger = work.client("demo-admin")
    there = stranger.get(f"/media/{picture.id}{thumbnail}")
    nowhere = stranger.get(f"/media/{uuid.uuid4()}{thumbnail}")
    nonsense = stranger.get(f"/media/..%2f..%2fetc{thumbnail}")
    assert there.status_code == nowhere.status_code == nonsense.status_code == 404
    assert there.content == nowhere.content


def test_without_a_session_there_is_no_picture(work: Work) -> None:
    (picture,) = work.finished().pictures
    answer = work.running.browser(accept="image/png").get(f"/media/{picture.id}")
    assert answer.status_code == 401


def test_a_picture_that_the_filter_held_back_is_not_there(work: Work) -> None:
    job = work.finish(work.claim(work.submit(images=2)), refused=[1])
    shown, refused = job.pictures
    client = work.client()
    assert client.get(f"/media/{shown.id}").status_code == 200
    for path in (f"/media/{refused.id}", f"/media/{refused.id}/thumbnail"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("thumbnail", ["", "/thumbnail"])
def test_a_kept_picture_is_shown_again_only_while_it_may_be(work: Work, thumbnail: str) -> None:
    (picture,) = work.finished().pictures
    client, address = work.client(), f"/media/{picture.id}{thumbnail}"
    first = client.get(address)
    assert first.headers["cache-control"] == "private, no-cache"  # kept, and asked about each time
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "private, no-cache"
    assert client.get(address, headers={"If-None-Match": '"other"'}).content == first.content
    with work.running.database.transaction() as session:
        found = holdback.by_id(session, picture.id)
        assert found is not None
        holdback.withhold(session, found)
    gone = client.get(address, headers={"If-None-Match": tag})
    assert (gone.status_code, gone.headers["cache-control"]) == (404, "no-store")


def test_a_file_name_is_short_and_plain() -> None:
    assert file_name("猫", 1, ".png") == "picture-1.png"
    assert len(file_name("word " * 400, 2**32 - 1, ".png")) < 70
