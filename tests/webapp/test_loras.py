"""A team's LoRAs, from a file in somebody's hands to the job of a picture."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx2
import pytest
from at_loras import LINE, SHA, probe, stock, upload
from atelier_at_work import Work, open_work
from desks import add_desks
from sqlalchemy import select

from inference.request import AdapterUse, InvalidRequest
from inference.safety import ImageVerdict
from licensing import abuse, api_keys
from licensing.cases import ReviewCase
from licensing.moderation import Verdict


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    """A studio that has the pocket models' real weights beside it."""
    work = stock(open_work(stack, environ))
    add_desks(work.running)
    return work


PASSED = ImageVerdict("allow", None, 0.01, "fake")
DOUBTED = ImageVerdict("review", "sexual", 0.6, "fake")


def listed(client: httpx2.Client) -> list[tuple[str, str]]:
    return [(lora["name"], lora["state"]) for lora in client.get("/loras/list").json()["loras"]]


def sentence(answer: httpx2.Response) -> str:
    return str(answer.json()["error"]["message"])


def test_a_file_is_brought_checked_and_chosen(work: Work) -> None:
    client = work.client()
    answer = upload(client)
    assert answer.status_code == 201, answer.text
    adapter_id = answer.json()["id"]
    assert answer.json() == {"id": adapter_id, "sha256": SHA, "state": "checking"}
    with pytest.raises(InvalidRequest, match="is still being checked"):
        work.submit(adapters=[{"lora": adapter_id}])
    probe(work, adapter_id, PASSED)
    assert listed(client) == [("Line art", "ready")]
    job = work.submit(adapters=json.dumps([{"lora": adapter_id, "strength": "0.75"}]))
    assert job.asked.adapters == (AdapterUse(SHA, 0.75),)
    folder = work.running.settings.state / "adapters"
    assert (folder / f"{SHA}.safetensors").read_bytes() == LINE
    assert list((folder / "incoming").iterdir()) == []


def test_the_same_file_twice_is_one_lora_also_at_the_same_time(work: Work) -> None:
    answers: list[httpx2.Response] = []
    client = work.client()
    twice = [threading.Thread(target=lambda: answers.append(upload(client))) for _ in range(2)]
    for thread in twice:
        thread.start()
    for thread in twice:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(listed(client)) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + b"\0" * 64, "pickle"),
        (LINE[:-1], ""),
        (b"\xff" * 64, ""),
    ],
)
def test_what_is_no_lora_is_refused_with_a_sentence_and_leaves_nothing(
    work: Work, content: bytes, words: str
) -> None:
    client = work.client()
    answer = upload(client, content)
    assert answer.status_code == 422, answer.text
    assert words in sentence(answer)
    assert listed(client) == []
    assert not list((work.running.settings.state / "adapters").rglob("*.*"))


def test_a_file_over_the_limit_is_refused_before_it_comes(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.bringing.FILE_BYTES_MAX", 1000)
    answer = upload(work.client())
    assert answer.status_code == 422
    assert "1,024 MB" in sentence(answer)


def test_a_full_disk_is_said_before_the_file_comes(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.adapter_files.FREE_BYTES_MIN", 2**62)
    answer = upload(work.client())
    assert answer.status_code == 422
    assert "too little space" in sentence(answer)


def test_an_upload_that_breaks_off_leaves_nothing(work: Work) -> None:
    client = work.client()
    incoming = work.running.settings.state / "adapters" / "incoming"

    def half() -> Iterator[bytes]:
        yield LINE[: len(LINE) // 2]
        wait_until(lambda: list(incoming.glob("*")) != [], "the half file never came")
        raise ConnectionResetError

    headers = {"content-length": str(len(LINE))}
    with pytest.raises(ConnectionResetError):
        client.post("/loras/file", params={"name": "Half"}, content=half(), headers=headers)
    assert listed(client) == []
    wait_until(lambda: list(incoming.glob("*")) == [], "the half file is still there")


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def test_words_that_the_policy_refuses_are_no_trigger_words(work: Work) -> None:
    client = work.client()
    answer = upload(client, triggers="nude child")
    assert answer.status_code == 422
    assert "trigger words" in sentence(answer)
    with work.running.database.read() as session:
        verdict = session.scalars(select(Verdict)).one()
    assert (verdict.action, verdict.category) == ("block", "minors_sexual")
    assert verdict.excerpt == "nude child"
    assert "nude child" in client.get("/refusals").text, "it can be appealed, and it counts"


def test_whoever_was_stopped_has_no_grids_drawn_either(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abuse, "BURST", timedelta(milliseconds=1))  # the tries come in a row here
    client = work.client()
    for words in ("nude child", "naked toddler", "nude schoolgirl"):
        assert upload(client, triggers=words).status_code == 422
    stopped = upload(client)
    assert stopped.status_code == 403
    assert "a reviewer has to look" in sentence(stopped)
    assert listed(client) == []


def test_admins_decide_who_brings_and_a_neighbour_finds_nothing(work: Work) -> None:
    client = work.client()
    owner = work.client("demo-admin")
    assert owner.post("/loras/uploaders", data={"everybody": "no"}).status_code == 303
    refused = upload(client)
    assert refused.status_code == 403
    assert "only owners and admins" in sentence(refused)
    assert client.post("/loras/uploaders", data={"everybody": "yes"}).status_code == 403
    owner.post("/loras/uploaders", data={"everybody": "yes"})
    adapter_id = upload(client).json()["id"]
    other = work.client("demo-finance")
    assert other.post(f"/loras/{adapter_id}/remove").status_code == 403
    assert client.post(f"/loras/{adapter_id}/name", data={"name": "Ink"}).status_code == 303
    assert listed(client) == [("Ink", "checking")]
    assert client.post(f"/loras/{adapter_id}/remove").status_code == 303
    assert listed(client) == []
    assert not (work.running.settings.state / "adapters" / f"{SHA}.safetensors").exists()


def test_a_doubt_is_veiled_at_the_desk_until_somebody_looks_and_decides(work: Work) -> None:
    client = work.client()
    adapter_id = upload(client).json()["id"]
    grid = probe(work, adapter_id, DOUBTED)
    assert listed(client) == [("Line art", "review")]
    with work.running.database.read() as session:
        case = session.scalars(select(ReviewCase)).one()
    desk = work.client("demo-reviewer")
    at = f"/review/cases/{case.id}"
    drawn = desk.get("/review/view", params={"case": case.id}).text
    assert "Line art" in drawn
    assert f"{at}/veil" in drawn
    assert desk.get(f"{at}/veil").headers["content-type"] == "image/png"
    assert desk.get(f"{at}/picture").status_code == 404
    desk.post(f"{at}/look", data={"what": "picture", "reason": "It was reported"})
    assert desk.get(f"{at}/picture").content == grid.read_bytes()
    order = {"action": "block", "category": "sexual", "reason": "It draws what is not allowed."}
    assert "Nobody can use the LoRA." in desk.post(f"{at}/decide", data=order).text
    assert listed(client) == [("Line art", "refused")]
    assert "that a LoRA of yours draws" in client.get("/refusals").text
    appeal = client.post(f"/refusals/{case.id}/appeal", data={"words": "It only draws lines."})
    assert appeal.status_code == 303
    assert client.get(f"{at}/picture").status_code == 403


def test_settings_are_loaded_again_through_the_api_with_their_loras(work: Work) -> None:
    client = work.client()
    adapter_id = upload(client).json()["id"]
    probe(work, adapter_id, PASSED)
    with work.running.database.transaction() as session:
        _, token = api_keys.create(session, work.member, name="all")
    program = work.running.browser(accept="application/json", authorization=f"Bearer {token}")
    fields = {"model": "pocket-raw", "prompt": "a fox", "adapters": [{"lora": SHA}]}
    made = program.post("/v1/generations", json=fields).json()
    assert made["adapters"] == [{"lora": SHA, "strength": 1.0}]
    unknown = program.post("/v1/generations", json={**fields, "adapters": [{"lora": "0" * 64}]})
    assert unknown.status_code == 422
    assert "no such LoRA" in sentence(unknown)
