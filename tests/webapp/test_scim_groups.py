"""/scim/v2/Groups: teams as a directory pushes them; and what a directory asks about us."""

import functools
import uuid
from contextlib import ExitStack

import pytest
from directory_at_work import ENTERPRISE, GROUP, Push, connect, open_push
from factories import team
from racing import race

from licensing import teams


@pytest.fixture
def push(stack: ExitStack, environ: dict[str, str]) -> Push:
    return open_push(stack, environ)


def names(push: Push, group: dict[str, object]) -> set[str]:
    with push.running.database.read() as session:
        found = teams.members_of(session, uuid.UUID(str(group["id"])))
    return {member.name for member in found}


def test_a_group_is_a_team_with_its_members(push: Push) -> None:
    ada, bea = push.user("ada"), push.user("bea")
    made = push.group("Brand", ada["id"])
    assert names(push, made) == {"Ada Byron"}
    place = f"/Groups/{made['id']}"
    push.patch(place, {"op": "Add", "path": "members", "value": [{"value": bea["id"]}]})
    assert names(push, made) == {"Ada Byron", "Bea Byron"}
    (seen,) = push.client.get(f"/Users/{ada['id']}").json()["groups"]
    assert (seen["value"], seen["display"]) == (made["id"], "Brand")
    entra = {"op": "Remove", "path": "members", "value": [{"value": ada["id"]}]}
    assert push.patch(place, entra).status_code == 200
    assert names(push, made) == {"Bea Byron"}
    okta = {"op": "remove", "path": f'members[value eq "{bea["id"]}"]'}
    assert push.patch(place, okta).status_code == 200
    assert names(push, made) == set()


def test_a_group_is_renamed_replaced_and_archived(push: Push) -> None:
    ada, bea = push.user("ada"), push.user("bea")
    made = push.group("Brand", ada["id"])
    place = f"/Groups/{made['id']}"
    okta = {"op": "replace", "value": {"id": made["id"], "displayName": "Brand & Co"}}
    assert push.patch(place, okta).json()["displayName"] == "Brand & Co"
    whole = {"schemas": [GROUP], "displayName": "Press", "members": [{"value": bea["id"]}]}
    put = push.client.put(place, json=whole)
    assert (put.status_code, put.json()["displayName"]) == (200, "Press")
    assert names(push, made) == {"Bea Byron"}
    assert push.client.delete(place).status_code == 204
    assert push.client.get(place).status_code == 404
    assert push.client.get("/Groups").json()["totalResults"] == 0


def test_groups_are_found_by_name_and_without_their_members(push: Push) -> None:
    push.group("Brand", push.user("ada")["id"])
    push.group("Press")
    asked = {"filter": 'displayName eq "brand"', "excludedAttributes": "members"}
    (found,) = push.client.get("/Groups", params=asked).json()["Resources"]
    assert found["displayName"] == "Brand"
    assert "members" not in found
    assert push.client.get("/Groups", params={"count": 1}).json()["totalResults"] == 2


def test_names_are_unique_and_strangers_join_no_group(push: Push) -> None:
    push.group("Brand")
    body = {"schemas": [GROUP], "displayName": "brand"}
    assert push.client.post("/Groups", json=body).status_code == 409
    other = connect(push.running, team(push.running.database, seat_ceiling=60))
    theirs = other.user("ada")
    with_stranger = {**body, "displayName": "Press", "members": [{"value": theirs["id"]}]}
    assert push.client.post("/Groups", json=with_stranger).status_code == 404
    assert push.client.get("/Groups").json()["totalResults"] == 1, "nothing half made"
    place = f"/Groups/{other.group('Theirs', theirs['id'])['id']}"
    assert push.client.get(place).status_code == 404
    assert push.client.delete(place).status_code == 404
    rename = {"op": "replace", "path": "displayName", "value": "Mine"}
    assert push.patch(place, rename).status_code == 404
    wrong = {**body, "displayName": "Press", "members": [{"value": "ada"}]}
    assert push.client.post("/Groups", json=wrong).status_code == 400


def test_members_that_are_pushed_at_once_all_arrive(push: Push) -> None:
    people = [push.user(name) for name in ("ada", "bea", "cid", "dan")]
    made = push.group("Brand")

    def join(user: dict[str, object]) -> int:
        one = {"op": "Add", "path": "members", "value": [{"value": user["id"]}]}
        return push.patch(f"/Groups/{made['id']}", one).status_code

    assert race([functools.partial(join, user) for user in people]) == [200] * 4
    assert len(names(push, made)) == 4


def test_a_directory_learns_what_it_may_ask(push: Push) -> None:
    config = push.client.get("/ServiceProviderConfig").json()
    assert config["patch"]["supported"] is True
    assert config["bulk"]["supported"] is False
    assert config["filter"] == {"supported": True, "maxResults": 200}
    kinds = push.client.get("/ResourceTypes").json()["Resources"]
    assert {kind["endpoint"] for kind in kinds} == {"/Users", "/Groups"}
    assert push.client.get("/ResourceTypes/User").json()["name"] == "User"
    schemas = push.client.get("/Schemas").json()["Resources"]
    assert ENTERPRISE in {schema["id"] for schema in schemas}
    assert push.client.get(f"/Schemas/{ENTERPRISE}").json()["id"] == ENTERPRISE
    assert push.client.get("/Schemas/nothing").status_code == 404
    assert push.client.get("/Nothing").json()["status"] == "404"
    assert push.client.post("/ServiceProviderConfig").status_code == 405
