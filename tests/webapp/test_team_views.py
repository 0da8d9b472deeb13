"""The team page beyond its people: teams, budgets, plan, joining, keys, former members."""

import re
import uuid
from contextlib import ExitStack

import httpx2
import pytest
from desks import Desks, open_desks

from licensing import api_keys, budgets, plans, teams
from licensing.money import format_usd
from webapp import account


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ, seat_ceiling=6)


def words(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_a_team_is_founded_filled_renamed_and_ended(desks: Desks) -> None:
    client, creator = desks.ask(desks.team.admin), desks.team.creator
    made = words(client.post("/team/groups", data={"name": "Posters", "cost_centre": "CC-7"}))
    assert "The team Posters is there." in made
    assert "Posters CC-7 nobody yet Budget: no limit" in made
    with desks.running.database.read() as session:
        team = teams.teams(session, creator.organisation_id)[0]
    added = client.post(f"/team/groups/{team.id}/members", data={"member": str(creator.id)})
    assert f"Posters CC-7 {creator.name}" in words(added)
    sheet = words(client.get(f"/team/members/{creator.id}"))
    assert "Who pays for" in sheet
    paid = client.post(f"/team/members/{creator.id}/paying-team", data={"team": ""})
    assert f"the organisation pays for {creator.name}" in words(paid)
    named = client.post(f"/team/groups/{team.id}", data={"name": "Prints", "cost_centre": ""})
    assert "Prints" in words(named)
    taken = client.post(f"/team/groups/{team.id}/members/{creator.id}/remove")
    assert "one fewer" in words(taken)
    assert "has ended" in words(client.post(f"/team/groups/{team.id}/archive"))
    assert client.get(f"/team/groups/{team.id}").status_code == 404
    assert client.post("/team/groups", data={"name": ""}).status_code == 422


def test_a_budget_is_set_shown_and_lifted(desks: Desks) -> None:
    client, creator = desks.ask(desks.team.owner), desks.team.creator
    sheet = f"/team/budgets/member/{creator.id}"
    done = words(client.post(sheet, data={"day": "1.50", "month": "20"}))
    assert f"The budget of {creator.name} is set" in done
    assert "$1.50 a day · $20.00 a month" in done
    with desks.running.database.read() as session:
        standing = budgets.budgets_of(session, member_id=creator.id)
    assert {(one.period, format_usd(one.limit_micros)) for one in standing} == {
        ("day", "$1.50"),
        ("month", "$20.00"),
    }
    assert 'value="1.500000"' in client.get(sheet).text
    nothing = words(client.post(sheet, data={"day": "0", "month": "0.000000"}))
    assert "$0.00 a day · $0.00 a month" in nothing, "0 stops new work, as the sheet says"
    assert "no limit" in words(client.post(sheet, data={"day": "", "month": ""}))
    default = "/team/budgets/organisation_default/all"
    assert "$5.00 a day" in words(client.post(default, data={"day": "5"}))
    for wrong in ("-1", "lots", "1e9", "0.0000001"):
        assert client.post(sheet, data={"day": wrong}).status_code == 422
    assert client.post("/team/budgets/planet/all", data={}).status_code == 422


def test_why_somebody_cannot_generate_stands_in_their_sheet(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    finance = words(client.get(f"/team/members/{desks.team.finance.id}"))
    assert "Why Fay Finance cannot generate now" in finance
    assert "There is no seat for them." in finance
    assert "They have not accepted the agreements" in finance
    assert "You have no seat" not in finance, "the admin reads it, and has one"
    assert "/agreements" not in client.get(f"/team/members/{desks.team.finance.id}").text


def test_a_file_is_tried_first_and_then_invites_everybody_or_nobody(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    good = "email,role,seat\nada@new.example,creator,yes\n=bob@new.example,creator,no\n"
    tried = words(client.post("/team/import/plan", data={"text": good}))
    assert "Nothing is written yet" in tried
    assert "1 wrong" in tried or "2 to invite" in tried
    assert "ada@new.example" not in words(client.get("/team/view"))
    fine = "email,role,seat\nada@new.example,creator,yes\nbo@new.example,finance,no\n"
    done = words(client.post("/team/import", data={"text": fine}))
    assert "2 people are invited, 0 by mail." in done
    assert done.count("/invite/") == 2
    assert "ada@new.example Creator · holds a seat" in words(client.get("/team/view"))
    refused = words(client.post("/team/import", data={"text": "who\nnobody\n"}))
    assert "email" in refused


def test_a_domain_is_claimed_and_given_up(desks: Desks) -> None:
    client = desks.ask(desks.team.owner)
    made = client.post("/team/domains", data={"domain": "nord.example", "policy": "seat"})
    assert "nord.example Not proved yet" in words(made)
    address = re.search(r"/team/domains/[0-9a-f-]{36}", made.text)
    assert address is not None
    assert "nord.example" not in words(client.post(f"{address[0]}/remove")).split("Domain ")[0]
    assert client.post("/team/domains", data={"domain": "not a domain"}).status_code == 422


def test_keys_of_everybody_can_be_revoked_by_an_admin(desks: Desks) -> None:
    with desks.running.database.transaction() as session:
        key, token = api_keys.create(session, desks.team.creator, name="nightly")
    client = desks.ask(desks.team.admin)
    assert "nightly" in words(client.get("/team/view?view=access"))
    assert "The key nightly is dead" in words(client.post(f"/team/keys/{key.id}/revoke"))
    with desks.running.database.read() as session:
        assert api_keys.find_live(session, token) is None


def test_who_left_is_listed_with_what_to_do_about_their_pictures(desks: Desks) -> None:
    account.remove(desks.running.studio, desks.team.owner, desks.team.creator.id)
    client, name = desks.ask(desks.team.owner), desks.team.creator.name
    assert name in words(client.get("/team/view?view=access"))
    sheet = words(client.get(f"/team/leavers/{desks.team.creator.id}"))
    assert "0 pictures of 0 generations" in sheet
    assert "erased, for good" in words(client.post(f"/team/leavers/{desks.team.creator.id}/erase"))


def test_the_plan_says_what_is_taken_and_what_a_change_would_need(desks: Desks) -> None:
    client = desks.ask(desks.team.owner)
    plan = words(client.get("/team/view?view=plan"))
    assert "3 of 6 seats taken" in plan
    assert "Buy seats" in plan
    assert "subscription" in words(client.get("/team/view?view=plan&seats=9"))
    assert "Nothing was bought. People" in words(client.get("/team/view?seats=0"))


def test_a_stranger_meets_nothing_of_another_organisation(desks: Desks) -> None:
    strangers = desks.ask(desks.another().owner)
    client = desks.ask(desks.team.owner)
    client.post("/team/groups", data={"name": "Posters"})
    with desks.running.database.transaction() as session:
        team = teams.teams(session, desks.team.owner.organisation_id)[0]
        key, _ = api_keys.create(session, desks.team.creator, name="k")
    creator = desks.team.creator.id
    for method, address in (
        ("GET", f"/team/groups/{team.id}"),
        ("POST", f"/team/groups/{team.id}"),
        ("POST", f"/team/groups/{team.id}/archive"),
        ("GET", f"/team/budgets/team/{team.id}"),
        ("POST", f"/team/budgets/team/{team.id}"),
        ("GET", f"/team/budgets/member/{creator}"),
        ("POST", f"/team/budgets/member/{creator}"),
        ("POST", f"/team/keys/{key.id}/revoke"),
        ("GET", f"/team/leavers/{creator}"),
        ("POST", f"/team/leavers/{creator}/erase"),
        ("POST", f"/team/members/{creator}/paying-team"),
        ("POST", f"/team/domains/{uuid.uuid4()}/verify"),
    ):
        answer = strangers.request(method, address, data={"name": "x", "day": "1"})
        assert answer.status_code == 404, (address, answer.text)
    creators = desks.ask(desks.team.creator)
    assert creators.get("/team/view?view=access").status_code == 403
    assert creators.post("/team/groups", data={"name": "x"}).status_code == 403


def test_an_enterprise_owner_connects_the_directory_and_turns_its_token(desks: Desks) -> None:
    client = desks.ask(desks.team.owner)
    assert "comes with the Enterprise plan" in words(client.get("/team/view?view=joining"))
    with desks.running.database.transaction() as session:
        plans.change_tier(session, desks.team.owner.organisation_id, "enterprise", ceiling=60)
    connected = client.post("/team/directory", data={"provider": "demo", "policy": "seat"})
    assert "The directory is connected" in words(connected)
    made = client.post("/team/directory/tokens", data={"label": "Entra"})
    token = re.search(r'wrap" role="status">([^<]{20,})<', made.text)
    assert token is not None
    found = httpx2.get(
        f"{desks.running.settings.url}/scim/v2/Users",
        headers={"Authorization": f"Bearer {token[1]}"},
        trust_env=False,
    )
    assert found.json()["totalResults"] == 5
    address = re.search(r"/team/directory/tokens/[0-9a-f-]{36}", made.text)
    assert address is not None
    assert "the old one holds for a day" in words(client.post(f"{address[0]}/rotate"))
    assert "dead from now on" in words(client.post(f"{address[0]}/revoke"))
    history = words(client.get("/team/view?view=access"))
    for told in ("connected the directory", "made a token for the directory", "revoked a token"):
        assert f"{desks.team.owner.name} {told}" in history
    admin = desks.ask(desks.team.admin)
    assert admin.post("/team/directory/tokens", data={"label": "x"}).status_code == 403


def test_an_invite_is_sent_again_with_a_new_link(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    first = client.post("/team/invites", data={"email": "new@nord.example"}).text
    again = re.search(r"/team/invites/[0-9a-f-]{36}/renew", first)
    assert again is not None
    answer = client.post(again[0])
    assert "invited again; the old link is dead" in words(answer)
    links = [re.search(r"/invite/[\w-]+", text) for text in (first, answer.text)]
    assert links[0] is not None
    assert links[1] is not None
    assert links[0][0] != links[1][0]
