"""/scim/v2/Users as Entra ID and Okta use it, and what must not be done with it."""

import uuid
from contextlib import ExitStack

import pytest
from directory_at_work import CORE, ENTERPRISE, Push, caller, connect, open_push, person
from factories import team
from running import sign_in
from sqlalchemy import select

from licensing import api_keys, directories, roster, seats, tiers
from licensing.directories import TOKENS_MAX
from licensing.domains import SeatPolicy
from licensing.errors import Conflict, NotAllowed
from licensing.seats import Member, Status
from licensing.tiers import TierRequired
from webapp.scim import people


@pytest.fixture
def push(stack: ExitStack, environ: dict[str, str]) -> Push:
    return open_push(stack, environ)


def test_a_directory_creates_finds_reads_and_removes_a_person(push: Push) -> None:
    assert push.find(userName="ada@nord.example") == []
    made = push.user("ada")
    member = push.member(made)
    assert (member.name, member.email, member.role) == ("Ada Byron", "ada@nord.example", "creator")
    assert member.seated
    (found,) = push.find(userName="ADA@nord.example")
    assert found["id"] == made["id"]
    assert push.find(externalId="id-of-ada")[0]["id"] == made["id"]
    answer = push.client.get(f"/Users/{made['id']}")
    read = answer.json()
    assert read[ENTERPRISE] == {"department": "Design"}
    assert read["meta"]["location"] == str(answer.url)
    assert answer.headers["etag"] == read["meta"]["version"]
    assert answer.headers["content-type"].startswith("application/scim+json")
    assert push.client.delete(f"/Users/{made['id']}").status_code == 204
    assert push.client.get(f"/Users/{made['id']}").status_code == 404
    assert push.member(made).status == Status.REMOVED
    assert push.user("ada")["id"] != made["id"], "hired again"


def test_a_person_sent_twice_is_refused_as_scim_says(push: Push) -> None:
    push.user("ada")
    again = push.client.post("/Users", json=person("ada"))
    assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness")
    other = person("bea", externalId="id-of-ada")
    assert push.client.post("/Users", json=other).status_code == 409
    mine = person("cleo", emails=[{"value": push.team.creator.email, "primary": True}])
    assert push.client.post("/Users", json=mine).status_code == 409


def test_entra_switches_a_person_off_and_on(push: Push) -> None:
    made = push.user("ada")
    place = f"/Users/{made['id']}"
    off = push.patch(place, {"op": "Replace", "path": "active", "value": "False"})
    assert (off.status_code, off.json()["active"]) == (200, False)
    assert push.member(made).status == Status.SUSPENDED
    on = push.patch(place, {"op": "Replace", "path": "active", "value": "True"})
    assert on.json()["active"] is True


def test_okta_switches_a_person_off_without_a_path_and_puts_them_back_whole(push: Push) -> None:
    made = push.user("ada")
    place = f"/Users/{made['id']}"
    off = push.patch(place, {"op": "replace", "value": {"active": False}})
    assert off.json()["active"] is False
    whole = {**made, "active": True, "title": "Countess"}
    back = push.client.put(place, json=whole)
    assert back.status_code == 200, back.text
    assert (back.json()["active"], back.json()["title"]) == (True, "Countess")
    assert push.member(made).status == Status.ACTIVE


def test_entras_own_ways_of_patching_are_understood(push: Push) -> None:
    made = push.user("ada")
    answer = push.patch(
        f"/Users/{made['id']}",
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "countess@nord.example"},
        {"op": "Replace", "path": "name.familyName", "value": "King"},
        {"op": "Replace", "path": "displayName", "value": "Ada King"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "26118915-6090-4610"},
        {"op": "Replace", "value": {f"{ENTERPRISE}:department": "Engines", "nickName": "A"}},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+44 1"},
        {"op": "Add", "path": "favouriteColour", "value": "green"},
        {
            "op": "Add",
            "path": 'roles[primary eq "True"].value',
            "value": '{"id":"1","value":"finance","displayName":"Finance"}',
        },
    )
    assert answer.status_code == 200, answer.text
    read = answer.json()
    assert read[ENTERPRISE] == {"department": "Engines", "manager": {"value": "26118915-6090-4610"}}
    assert (read["name"]["familyName"], read["nickName"]) == ("King", "A")
    assert read["phoneNumbers"][0]["value"] == "+44 1"
    member = push.member(made)
    assert (member.name, member.email, member.role) == (
        "Ada King",
        "countess@nord.example",
        "finance",
    )


@pytest.mark.parametrize("name", ["owner", "Owner"])
def test_a_directory_makes_no_owners(push: Push, name: str) -> None:
    answer = push.client.post("/Users", json=person("ada", roles=[{"value": name}]))
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")


def test_the_last_owner_cannot_go_by_scim(push: Push) -> None:
    place = f"/Users/{push.team.owner.id}"
    off = push.patch(place, {"op": "replace", "path": "active", "value": False})
    assert off.status_code == 409
    assert "last owner" in off.json()["detail"]
    assert push.client.delete(place).status_code == 409
    assert push.client.get(place).json()["active"] is True


def test_people_are_paged_and_filtered(push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "bea", "cid"):
        push.user(name)
    first = push.client.get("/Users", params={"startIndex": 1, "count": 3}).json()
    assert (first["totalResults"], first["itemsPerPage"], first["startIndex"]) == (8, 3, 1)
    rest = push.client.get("/Users", params={"startIndex": 4, "count": 100}).json()
    ids = [each["id"] for each in first["Resources"] + rest["Resources"]]
    assert len(set(ids)) == 8
    none = push.client.get("/Users", params={"count": 0}).json()
    assert (none["totalResults"], none.get("Resources", [])) == (8, [])
    narrow = {"filter": 'emails[type eq "work"].value sw "bea" and active eq true'}
    (bea,) = push.client.get("/Users", params={**narrow, "attributes": "userName"}).json()[
        "Resources"
    ]
    assert bea["userName"] == "bea@nord.example"
    assert "emails" not in bea
    monkeypatch.setattr(people, "FILTERED_MAX", 7)
    many = push.client.get("/Users", params=narrow)
    assert (many.status_code, many.json()["scimType"]) == (400, "tooMany")
    assert "userName eq" in many.json()["detail"]
    one = push.client.get("/Users", params={"filter": 'userName eq "bea@nord.example"'}).json()
    assert one["totalResults"] == 1
    wrong = push.client.get("/Users", params={"filter": "userName eq"})
    assert (wrong.status_code, wrong.json()["scimType"]) == (400, "invalidFilter")


def test_a_changed_person_is_not_overwritten_unread(push: Push) -> None:
    made = push.user("ada")
    place, version = f"/Users/{made['id']}", made["meta"]["version"]
    push.patch(place, {"op": "replace", "path": "title", "value": "Countess"})
    late = push.client.put(place, json=made, headers={"If-Match": version})
    assert late.status_code == 412


def test_who_is_switched_off_is_out_at_once(push: Push) -> None:
    creator = push.team.creator
    with push.running.database.transaction() as session:
        key, _ = api_keys.create(session, creator, name="a script")
    push.patch(f"/Users/{creator.id}", {"op": "replace", "path": "active", "value": False})
    with push.running.database.read() as session:
        row = session.get(api_keys.ApiKey, key.id)
        assert row is not None
        assert row.revoked_at is not None


def test_the_seat_policy_decides_and_seats_end(push: Push) -> None:
    with push.running.database.transaction() as session:
        nord = session.get(seats.Organisation, push.team.id)
        assert nord is not None
        nord.seat_ceiling = 4  # three are taken
    first, second = push.member(push.user("ada")), push.member(push.user("bea"))
    assert (first.seated, second.seated) == (True, False)
    assert second.seat_asked_at is not None
    with push.running.database.transaction() as session:
        directories.configure(
            session, push.team.owner, issuer="https://x.example", seat_policy=SeatPolicy.NO_SEAT
        )
    third = push.member(push.user("cid"))
    assert (third.seated, third.seat_asked_at) == (False, None)


@pytest.mark.parametrize("by", ["subject", "address"])
def test_a_provisioned_person_signs_in_as_themselves(push: Push, by: str) -> None:
    told = {"externalId": "demo-creator"} if by == "subject" else {}
    address = "other@nord.example" if by == "subject" else "cleo@demo.example"
    made = push.user("cleo", **told, emails=[{"value": address, "primary": True}])
    answer = sign_in(push.running.browser(), "demo-creator")
    assert answer.status_code == 303, answer.text
    member = push.member(made)
    assert (member.subject, member.status) == ("demo-creator", Status.ACTIVE)
    with push.running.database.read() as session:
        everybody = session.scalars(select(Member).where(Member.subject == "demo-creator"))
        assert [row.id for row in everybody] == [member.id]


def test_a_switched_off_person_does_not_come_in(push: Push) -> None:
    push.user("cleo", active=False, emails=[{"value": "cleo@demo.example", "primary": True}])
    assert sign_in(push.running.browser(), "demo-creator").status_code == 403


def test_another_providers_word_claims_nobody(push: Push) -> None:
    with push.running.database.transaction() as session:
        directories.configure(
            session, push.team.owner, issuer="https://x.example", seat_policy=SeatPolicy.SEAT
        )
    made = push.user(
        "cleo", externalId="demo-creator", emails=[{"value": "cleo@demo.example", "primary": True}]
    )
    assert sign_in(push.running.browser(), "demo-creator").status_code == 403
    assert push.member(made).subject != "demo-creator"


def test_two_organisations_that_claim_one_address_get_nobody(push: Push) -> None:
    cleo = {"emails": [{"value": "cleo@demo.example", "primary": True}]}
    push.user("cleo", **cleo)
    other = connect(push.running, team(push.running.database, seat_ceiling=60))
    other.user("cleo", **cleo)
    assert sign_in(push.running.browser(), "demo-creator").status_code == 403


def test_another_organisations_people_are_not_there(push: Push) -> None:
    other = connect(push.running, team(push.running.database, seat_ceiling=60))
    theirs = other.user("ada")
    place = f"/Users/{theirs['id']}"
    off = {"op": "replace", "path": "active", "value": False}
    assert push.client.get(place).status_code == 404
    assert push.patch(place, off).status_code == 404
    assert push.client.put(place, json=person("ada")).status_code == 404
    assert push.client.delete(place).status_code == 404
    assert push.find(userName="ada@nord.example") == []
    assert other.member(theirs).status == Status.ACTIVE
    for nobody in (uuid.uuid4(), "nonsense", "1%20OR%201=1"):
        assert push.client.get(f"/Users/{nobody}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"schemas": [CORE]},
        {"schemas": [CORE], "userName": "no address"},
        {"schemas": [CORE], "userName": "a\x00@nord.example"},
        {"schemas": [CORE], "userName": "ada@nord.example", "active": "perhaps"},
        {"schemas": [CORE], "userName": "a" * 300 + "@nord.example"},
        [],
        "{",
    ],
)
def test_what_cannot_be_a_person_is_a_scim_error(push: Push, body: object) -> None:
    text = {"content": body} if isinstance(body, str) else {"json": body}
    answer = push.client.post("/Users", **text)  # type: ignore[arg-type]
    assert answer.status_code == 400, answer.text
    assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert answer.json()["detail"]


def test_only_a_token_with_the_scope_opens_the_door(push: Push) -> None:
    made = push.user("ada")
    with push.running.database.transaction() as session:
        narrow, token = directories.create_token(
            session, push.team.owner, label="reader", scopes=("users:read",)
        )
    reader = caller(push.running, token)
    assert reader.get(f"/Users/{made['id']}").status_code == 200
    assert reader.delete(f"/Users/{made['id']}").status_code == 403
    assert reader.get("/Groups").status_code == 403
    with push.running.database.transaction() as session:
        directories.revoke_token(session, push.team.owner, narrow.id)
        _, key = api_keys.create(session, push.team.owner, name="no token")
    for wrong in (token, key, "nonsense", ""):
        answer = caller(push.running, wrong or "x").get("/Users")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    browser = push.running.browser(accept="text/html")
    assert browser.get("/scim/v2/Users").status_code == 401


def test_a_token_is_replaced_without_a_gap(push: Push) -> None:
    with push.running.database.transaction() as session:
        (old,) = directories.tokens(session, push.team.id)
        new, token = directories.rotate(session, push.team.owner, old.id)
    with push.running.database.transaction() as session:
        assert len(directories.tokens(session, push.team.id)) == TOKENS_MAX
        with pytest.raises(Conflict):
            directories.create_token(session, push.team.owner, label="a third")
        with pytest.raises(NotAllowed):
            directories.create_token(session, push.team.admin, label="not an owner's")
    assert push.client.get("/Users").status_code == 200, "the old one holds"
    assert caller(push.running, token).get("/Users").status_code == 200
    with push.running.database.read() as session:
        (first, second) = directories.tokens(session, push.team.id)
    assert {first.id, second.id} == {old.id, new.id}
    assert [each.last_used_at is not None for each in (first, second)] == [True, True]


def test_scim_is_for_enterprise_and_ends_with_it(push: Push) -> None:
    business = team(push.running.database)
    with (
        push.running.database.transaction() as session,
        pytest.raises(TierRequired, match="Enterprise"),
    ):
        directories.configure(
            session, business.owner, issuer="https://x.example", seat_policy=SeatPolicy.ASK
        )
    with push.running.database.transaction() as session:
        nord = session.get(seats.Organisation, push.team.id)
        assert nord is not None
        nord.tier, nord.seat_ceiling = tiers.find("business").id, 50
    assert push.client.get("/Users").status_code == 403


def test_who_was_removed_at_the_desk_can_be_sent_again(push: Push) -> None:
    made = push.user("ada")
    with push.running.database.transaction() as session:
        roster.remove(session, push.team.owner, uuid.UUID(made["id"]))
    assert push.client.get(f"/Users/{made['id']}").status_code == 404
    assert push.user("ada")["id"] != made["id"]
