"""The team page: seats, members and invites of one's own organisation, said before it is done."""

import re
import uuid
from contextlib import ExitStack

import httpx2
import pytest
from desks import Desks, message, open_desks
from factories import identity, member

from licensing import invites, seats
from licensing.seats import Role


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ, seat_ceiling=6)


def words(answer: httpx2.Response) -> str:
    """Return what a person reads."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_seats_and_members_are_listed_with_what_is_left(desks: Desks) -> None:
    desks.ask(desks.team.admin).post(
        "/team/invites", data={"email": "new@nord.example", "seated": "true"}
    )
    read = words(desks.ask(desks.team.admin).get("/team/view"))
    assert "Studio Nord · Business plan" in read
    assert "2 seats left of 6 3 assigned 1 held by pending invites 2 left" in read
    assert "new@nord.example Creator · holds a seat · works until" in read
    assert "Members 5" in read
    assert f"Amir Admin (you) {desks.team.admin.email} Admin Seat Active" in read
    assert f"Fay Finance {desks.team.finance.email} Finance No seat Active" in read
    history = words(desks.ask(desks.team.admin).get("/team/view?view=access"))
    assert "Amir Admin invited new@nord.example" in history


def test_an_invite_without_a_role_and_seat_is_a_creator_without_a_seat(desks: Desks) -> None:
    client = desks.ask(desks.team.owner)
    client.post("/team/invites", data={"email": "new@nord.example"})
    assert "new@nord.example Creator · no seat" in words(client.get("/team/view"))


@pytest.mark.parametrize(
    ("email", "status", "sentence"),
    [
        ("", 422, "“” is not an e-mail address."),
        ("nobody", 422, "“nobody” is not an e-mail address."),
        (f"{'x' * 300}@nord.example", 422, "is not an e-mail address."),
        ("taken@nord.example", 409, "taken@nord.example is invited already."),
    ],
)
def test_an_invite_that_cannot_be_made_says_why(
    desks: Desks, email: str, status: int, sentence: str
) -> None:
    client = desks.ask(desks.team.admin)
    assert client.post("/team/invites", data={"email": "taken@nord.example"}).status_code == 200
    refused = client.post("/team/invites", data={"email": email})
    assert refused.status_code == status
    assert sentence in message(refused)


def test_the_last_seat_goes_once_and_pending_invites_hold_theirs(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    for number in range(3):
        data = {"email": f"n{number}@nord.example", "seated": "true"}
        assert client.post("/team/invites", data=data).status_code == 200
    full = client.post("/team/invites", data={"email": "n9@nord.example", "seated": "true"})
    assert full.status_code == 409
    assert message(full).startswith("All 6 seats are taken: 3 assigned, 3 held by pending invites.")
    refused = client.post(f"/team/members/{desks.team.finance.id}/assign-seat")
    assert refused.status_code == 409
    assert "Every seat is taken." in words(client.get("/team/view"))
    sheet = words(client.get(f"/team/members/{desks.team.finance.id}"))
    assert "has no seat, and all 6 are taken" in sheet
    assert "this invite comes without one" in words(client.get("/team/invite"))


def test_a_sheet_says_what_each_verb_will_do(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    sheet = words(client.get(f"/team/members/{desks.team.creator.id}"))
    for sentence in (
        "what Cleo Creator has waiting or running is cancelled and costs nothing",
        "The plan has as many seats as before, so the bill does not change.",
        "The new role holds at Cleo Creator\u2019s next click",
        "signed out everywhere and cannot come back until resumed",
        "their lines stay on the bill",
    ):
        assert sentence in sheet
    assert "Owner" not in sheet, "an admin makes no owners"
    assert "Owner Everything" in words(
        desks.ask(desks.team.owner).get(f"/team/members/{desks.team.creator.id}")
    )
    assert "This is you." in words(client.get(f"/team/members/{desks.team.admin.id}"))
    owner = words(client.get(f"/team/members/{desks.team.owner.id}"))
    assert "Only an owner can change an owner." in owner
    assert "Suspend" not in owner


def test_a_sheet_of_somebody_who_has_left_says_so(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    client.post(f"/team/members/{desks.team.creator.id}/remove")
    stale = client.get(f"/team/members/{desks.team.creator.id}")
    assert stale.status_code == 404
    assert "is not in your team any more" in message(stale)


def test_an_admin_cannot_make_or_touch_an_owner(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    crown = client.post(f"/team/members/{desks.team.creator.id}/role", data={"role": "owner"})
    assert (crown.status_code, message(crown)) == (
        403,
        "Only an owner can make somebody an owner.",
    )
    for verb in ("suspend", "remove", "revoke-seat"):
        assert client.post(f"/team/members/{desks.team.owner.id}/{verb}").status_code == 403
    invited = client.post("/team/invites", data={"email": "o@nord.example", "role": "owner"})
    assert invited.status_code == 403


def test_another_organisation_is_not_there(desks: Desks) -> None:
    theirs = desks.another()
    mine = desks.ask(desks.team.owner)
    with desks.running.database.transaction() as session:
        invite, _ = invites.invite(
            session, theirs.owner, email="x@y.example", role=Role.CREATOR, seated=False
        )
    missing = mine.get(f"/team/members/{uuid.uuid4()}")
    there = mine.get(f"/team/members/{theirs.creator.id}")
    assert (there.status_code, there.content) == (404, missing.content)
    for path in (
        f"members/{theirs.creator.id}/suspend",
        f"members/{theirs.creator.id}/remove",
        f"invites/{invite.id}/revoke",
    ):
        assert mine.post(f"/team/{path}").status_code == 404, path
    role = {"role": "finance"}
    assert mine.post(f"/team/members/{theirs.creator.id}/role", data=role).status_code == 404
    assert mine.get(f"/team/invites/{invite.id}").status_code == 404
    assert theirs.creator.email not in mine.get("/team/view").text
    with desks.running.database.read() as session:
        still = seats.get_member(session, theirs.creator.id)
        assert still is not None
        assert (still.status, still.role) == ("active", "creator")
        assert len(invites.invites(session, theirs.id)) == 1


@pytest.mark.parametrize("role", ["creator", "finance", "reviewer", None])
def test_the_page_and_its_verbs_are_the_admins_alone(desks: Desks, role: str | None) -> None:
    client = (
        desks.running.browser(accept="application/json")
        if role is None
        else desks.ask(getattr(desks.team, role))
    )
    member_id = desks.team.creator.id
    answers = [
        client.get("/team/view"),
        client.get("/team/invite"),
        client.get(f"/team/members/{member_id}"),
        client.get(f"/team/invites/{uuid.uuid4()}"),
        client.post("/team/invites", data={"email": "me@nord.example", "role": "admin"}),
        client.post(f"/team/invites/{uuid.uuid4()}/revoke"),
        client.post(f"/team/members/{member_id}/suspend"),
        client.post(f"/team/members/{member_id}/role", data={"role": "admin"}),
    ]
    assert {answer.status_code for answer in answers} == {401 if role is None else 403}


def test_another_site_cannot_press_the_buttons(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    path = f"/team/members/{desks.team.creator.id}/remove"
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post(path, headers=headers).status_code == 403
    assert "Cleo Creator" in client.get("/team/view").text


def test_names_are_words_and_never_markup(desks: Desks) -> None:
    name = "<img src=x onerror=alert(1)> ${7*7} {{7*7}}"
    with desks.running.database.transaction() as session:
        odd = member(session, desks.team.organisation, name=name, seated=False)
    client = desks.ask(desks.team.admin)
    for path in ("/team/view", f"/team/members/{odd.id}"):
        text = client.get(path).text
        assert "<img" not in text
        assert "&lt;img src=x onerror=alert(1)&gt; ${7*7} {{7*7}}" in text


def test_three_hundred_members_come_in_pages_and_are_found(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        for number in range(295):
            seats.add_member(
                session,
                desks.team.id,
                identity(f"Person {number:03d}"),
                role=Role.CREATOR,
                seated=False,
            )
    client = desks.ask(desks.team.admin)
    first = words(client.get("/team/view"))
    assert "Members 300" in first
    assert "Page 1 of 6 · 300 members" in first
    assert "Person 294" in words(client.get("/team/view?part=6"))
    assert "Page 6 of 6" in words(client.get("/team/view?part=99"))
    found = client.get("/team/view?q=PERSON 07").text
    assert found.count("Manage Person 07") == 10
    assert "Person 080" not in found
    none = words(client.get("/team/view?q=<b>"))
    assert "Nobody here is called “&lt;b&gt;”." in none
    assert client.get("/team/view?part=0").status_code == 422
