"""The JSON API: a key does what its member may, until either ends; a cookie does nothing here."""

import re
import uuid
from contextlib import ExitStack
from datetime import datetime, timedelta

import httpx2
import pytest
from atelier_at_work import Work, open_work
from sqlalchemy import text, update

from inference import generations
from inference.generations import Generation
from licensing import api_keys, api_pace
from licensing.api_keys import KEYS_MAX, ApiKey, InvalidKey
from licensing.db import now
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member
from webapp import account

APPLE = {"model": "pocket-turbo", "prompt": "a red apple", "width": 128, "height": 128}


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


def make_key(
    work: Work, member: Member | None = None, name: str = "a script"
) -> tuple[ApiKey, str]:
    with work.running.database.transaction() as session:
        return api_keys.create(session, member or work.member, name=name)


def find(work: Work, generation_id: str) -> Generation:
    with work.running.database.read() as session:
        return generations.access(session, work.member, uuid.UUID(generation_id))


def caller(work: Work, token: str) -> httpx2.Client:
    """A program: no cookie, no Origin, a key."""
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx2.Client(base_url=work.running.settings.url, headers=headers, trust_env=False)
    return work.running.stack.enter_context(client)


def test_a_program_submits_waits_and_fetches_its_pictures(work: Work) -> None:
    key, token = make_key(work)
    program = caller(work, token)
    answer = program.post("/v1/generations", json={**APPLE, "images": 2, "project": "spring"})
    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["held_micros"], job["project"]) == ("queued", 30_000, "spring")
    place = answer.headers["location"]
    assert program.get(place).json()["queue_position"] == 1
    row = find(work, job["id"])
    assert row.api_key_id == key.id
    work.finish(work.claim(row), refused=[1])
    done = program.get(place).json()
    assert (done["state"], done["charged_micros"], done["held_micros"]) == ("finished", 15_000, 0)
    first, second = done["pictures"]
    assert second["refused"]
    assert second["url"] is None
    picture = program.get(first["url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert program.get(first["thumbnail_url"]).headers["content-type"] == "image/webp"
    assert program.get(f"{place}/pictures/1").status_code == 404
    listed = program.get("/v1/generations").json()
    assert [each["id"] for each in listed["generations"]] == [job["id"]]


def test_the_same_idempotency_key_is_the_same_job_for_one_key_alone(work: Work) -> None:
    programs = [caller(work, make_key(work, name=name)[1]) for name in ("one", "other")]
    once = {"Idempotency-Key": "order-7"}
    ids = [
        program.post("/v1/generations", json=APPLE, headers=once).json()["id"]
        for program in (programs[0], programs[0], programs[1])
    ]
    assert ids[0] == ids[1] != ids[2]
    work.finish(work.claim(find(work, ids[0])))
    again = programs[0].post("/v1/generations", json=APPLE, headers=once)
    assert (again.status_code, again.json()["id"]) == (202, ids[0]), "asked again after its end"
    assert len(again.json()["pictures"]) == 1
    changed = programs[0].post("/v1/generations", json={**APPLE, "seed": 5}, headers=once)
    assert (changed.status_code, changed.json()["error"]["code"]) == (409, "conflict")


def test_a_field_that_nobody_knows_is_named_and_nothing_is_charged(work: Work) -> None:
    program = caller(work, make_key(work)[1])
    answer = program.post("/v1/generations", json={**APPLE, "widht": 256})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "widht")
    long = {"Idempotency-Key": "x" * 129}
    assert program.post("/v1/generations", json=APPLE, headers=long).status_code == 422
    for content in ("[]", "{", "null", '{"images": 1e999}', '{"seed": ' + "9" * 5000 + "}"):
        wrong = program.post(
            "/v1/generations", content=content, headers={"Content-Type": "application/json"}
        )
        assert 400 <= wrong.status_code < 500, content
        assert wrong.json()["error"]["message"]
    assert work.balance().held_micros == 0


def test_jobs_under_way_are_listed_and_too_many_say_when_to_come_again(work: Work) -> None:
    program = caller(work, make_key(work)[1])
    for _ in range(8):
        assert program.post("/v1/generations", json=APPLE).status_code == 202
    ninth = program.post("/v1/generations", json=APPLE)
    assert (ninth.status_code, ninth.json()["error"]["code"]) == (429, "too_many_in_flight")
    assert int(ninth.headers["retry-after"]) > 0
    listed = program.get("/v1/generations", params={"state": "in_flight"}).json()
    assert len(listed["generations"]) == 8


def test_a_key_may_send_so_many_requests_a_minute_to_all_processes_together(work: Work) -> None:
    (one, token), (other, _) = make_key(work), make_key(work)
    program = caller(work, token)
    assert program.get("/v1/account").status_code == 200
    busy = text("UPDATE api_pace SET sent = 599, minute = :minute WHERE key_id = :key")
    minute = text("SELECT date_trunc('minute', clock_timestamp())")
    for _ in range(3):  # as another process would leave it; the minute may turn between the two
        with work.running.database.transaction() as session:
            begun = session.scalars(minute).one()
            session.execute(busy, {"key": one.id, "minute": begun})
        answers = [program.get("/v1/account").status_code for _ in range(2)]
        with work.running.database.read() as session:
            if session.scalars(minute).one() == begun:
                break
    assert answers == [200, 429]
    with work.running.database.transaction() as session:
        api_pace.count(session, other.id)
        session.execute(busy, {"key": one.id, "minute": begun - timedelta(minutes=1)})
    assert program.get("/v1/account").status_code == 200  # the next minute


def test_other_sites_rules_are_for_cookies_and_not_for_keys(work: Work) -> None:
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    program = caller(work, make_key(work)[1])
    assert program.post("/v1/generations", json=APPLE, headers=foreign).status_code == 202
    victim = work.client()
    assert victim.post("/v1/generations", json=APPLE, headers=foreign).status_code == 401
    assert (
        victim.post("/keys", data={"name": "x", "days": "30"}, headers=foreign).status_code == 403
    )
    asked = {**foreign, "Access-Control-Request-Method": "POST"}
    preflight = program.options("/v1/generations", headers=asked)
    assert "access-control-allow-origin" not in preflight.headers
    page = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}
    refused = httpx2.get(f"{work.running.settings.url}/v1/account", headers=page, trust_env=False)
    assert refused.json()["error"]["code"] == "key_refused"
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_busy_key_writes_its_last_use_once_a_minute(work: Work) -> None:
    key, token = make_key(work)
    program = caller(work, token)

    def used_at() -> datetime | None:
        with work.running.database.read() as session:
            row = session.get(ApiKey, key.id)
            assert row is not None
            return row.last_used_at

    program.get("/v1/account")
    first = used_at()
    assert first is not None
    program.get("/v1/account")
    assert used_at() == first
    with work.running.database.transaction() as session:
        past = now() - timedelta(minutes=2)
        session.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=past))
    program.get("/v1/account")
    again = used_at()
    assert again is not None
    assert again > first - timedelta(seconds=1)


def test_cancel_gives_the_money_back(work: Work) -> None:
    program = caller(work, make_key(work)[1])
    job = program.post("/v1/generations", json=APPLE).json()
    stopped = program.post(f"/v1/generations/{job['id']}/cancel").json()
    assert (stopped["state"], stopped["held_micros"], stopped["charged_micros"]) == (
        "cancelled",
        0,
        0,
    )
    assert program.get("/v1/account").json()["balance"]["held_micros"] == 0


def test_account_models_and_quote_say_what_may_be_asked_for(work: Work) -> None:
    key, token = make_key(work)
    program = caller(work, token)
    mine = program.get("/v1/account").json()
    assert mine["key"] == {"id": str(key.id), "name": "a script"}
    assert mine["balance"]["available_micros"] == 25_000_000
    models = {model["id"]: model for model in program.get("/v1/models").json()["models"]}
    assert models["krea-2-turbo"]["unavailable"]
    assert program.post("/v1/quote", json={**APPLE, "images": 3}).json()["total_micros"] == 45_000
    slip = program.post("/v1/quote", json={**APPLE, "image": 3})
    assert (slip.status_code, slip.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"prompt": ""}, 422, "invalid_request"),
        ({"images": 500}, 422, "invalid_request"),
        ({"width": 129}, 422, "invalid_request"),
        ({"seed": "many"}, 422, "invalid_request"),
        ({"model": "none"}, 409, "model_unavailable"),
        ({"project": "x" * 65}, 422, "invalid_request"),
    ],
)
def test_what_the_page_refuses_the_api_refuses_with_a_code(
    work: Work, fields: dict[str, object], status: int, code: str
) -> None:
    answer = caller(work, make_key(work)[1]).post("/v1/generations", json={**APPLE, **fields})
    assert answer.json()["error"]["code"] == code
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_key_ends_by_revocation_by_time_and_with_its_member(work: Work) -> None:
    admin = work.running.member("demo-admin")
    key, token = make_key(work)
    program = caller(work, token)
    assert program.get("/v1/account").status_code == 200
    account.suspend(work.running.studio, admin, work.member.id)
    assert program.get("/v1/account").status_code == 401
    account.resume(work.running.studio, admin, work.member.id)
    assert program.get("/v1/account").status_code == 401, "whoever returns makes new keys"
    key, token = make_key(work, name="new")
    program = caller(work, token)
    assert program.get("/v1/account").status_code == 200
    with work.running.database.transaction() as session:
        ends = update(ApiKey).where(ApiKey.id == key.id)
        session.execute(ends.values(expires_at=now() - timedelta(seconds=1)))
    assert program.get("/v1/account").json()["error"]["code"] == "key_refused"
    other = caller(work, make_key(work, name="other")[1])
    account.remove(work.running.studio, admin, work.member.id)
    assert other.get("/v1/account").status_code == 401
    with work.running.database.read() as session:
        assert not api_keys.keys_of(session, work.member.id)


def test_a_cookie_opens_no_api_and_a_key_opens_no_page(work: Work) -> None:
    assert work.client().get("/v1/account").status_code == 401
    program = caller(work, make_key(work)[1])
    assert program.get("/gallery").status_code == 401
    assert program.get("/keys").status_code == 401
    for wrong in ("", "Bearer", "Bearer x", "Basic abc", "Bearer atl_" + "a" * 400, "Bearer atl_é"):
        refused = httpx2.get(
            f"{work.running.settings.url}/v1/account",
            headers={"Authorization": wrong.encode()},
            trust_env=False,
        )
        assert refused.status_code == 401, wrong


def test_another_members_generation_does_not_exist_for_a_key(work: Work) -> None:
    job = work.submit()
    admin = work.running.member("demo-admin")
    stranger = caller(work, make_key(work, admin)[1])
    missing = stranger.get("/v1/generations/0d9b1c4e-0000-4000-8000-000000000000")
    for address in (f"/v1/generations/{job.id}", "/v1/generations/nonsense"):
        assert stranger.get(address).json() == missing.json()
    assert stranger.post(f"/v1/generations/{job.id}/cancel").status_code == 404


def test_keys_are_made_shown_once_and_revoked_on_their_page(work: Work) -> None:
    browser = work.client()
    browser.headers["accept"] = "text/html"
    made = browser.post("/keys", data={"name": "Poster <script>", "days": "30"}).text
    token = re.search(r"atl_[\w-]{43}", made)
    assert token is not None
    assert "Poster &lt;script&gt;" in made
    program = caller(work, token[0])
    assert program.get("/v1/account").status_code == 200
    page = browser.get("/keys").text
    assert token[0] not in page
    address = re.search(r"/keys/[0-9a-f-]{36}/revoke", page)
    assert address is not None
    assert browser.post(address[0]).headers["location"] == "/keys"
    assert program.get("/v1/account").status_code == 401
    for data in (
        {"name": "", "days": "30"},
        {"name": "x", "days": "7"},
        {"days": "٣٠"},
        {"days": "9" * 5000},
    ):
        assert 'role="alert"' in browser.post("/keys", data=data).text


def test_a_field_that_cannot_be_written_back_is_refused_in_words(work: Work) -> None:
    program = caller(work, make_key(work)[1])
    body = b'{"model": "pocket-turbo", "prompt": "a red apple", "\\ud800": 1}'
    refused = program.post(
        "/v1/generations", content=body, headers={"Content-Type": "application/json"}
    )
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "?"


def test_who_was_suspended_while_they_asked_gets_no_key(work: Work) -> None:
    asking = work.member  # as the request read them, before the suspension
    account.suspend(work.running.studio, work.running.member("demo-admin"), work.member.id)
    with pytest.raises(NotAllowed), work.running.database.transaction() as session:
        api_keys.create(session, asking, name="a way back")


def test_who_may_make_and_revoke_keys(work: Work) -> None:
    key, _ = make_key(work)
    finance, admin = work.running.member("demo-finance"), work.running.member("demo-admin")
    with work.running.database.transaction() as session:
        with pytest.raises(NotFound):
            api_keys.revoke(session, finance, key.id)
        assert api_keys.revoke(session, admin, key.id).revoked_by == admin.id
        for number in range(KEYS_MAX):
            api_keys.create(session, work.member, name=f"key {number}")
        with pytest.raises(Conflict, match="20 keys"):
            api_keys.create(session, work.member, name="one more")
        for name, lifetime in (("", None), ("x" * 65, None), ("x", timedelta(0)), ("a\0b", None)):
            with pytest.raises(InvalidKey):
                api_keys.create(session, admin, name=name, lifetime=lifetime)
