"""Every route of the studio, asked by whom it is not for: a new one that is open fails here.

`ROUTES` says of each whom it answers. A route that is not in it fails the first test, whatever it
does. Strangers, creators and the owner of another organisation then ask each of them, with ids that
exist, and nothing may come back or change.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2
import pytest
from atelier_at_work import Work, agree, open_work
from desks import Desks, add_desks, open_for
from directory_at_work import GROUP, PATCH, person
from factories import Team, member, team
from fastapi.routing import iter_route_contexts
from running import Running
from sqlalchemy import func, select
from starlette.routing import BaseRoute, Mount

from licensing import (
    adapters,
    api_keys,
    directories,
    domains,
    invites,
    moderation,
    roster,
    seats,
    teams,
)
from licensing.adapters import AdapterChange, Brought
from licensing.appeals import Appeal
from licensing.cases import ReviewCase
from licensing.decisions import Decision
from licensing.domains import SeatPolicy
from licensing.looks import Look
from licensing.money import MICROS_PER_USD
from licensing.payments import notices, top_ups
from licensing.reports import Report
from licensing.review_access import ReviewGrant
from licensing.seat_history import SeatChange
from licensing.seats import Role
from webapp.payment_settings import STANDIN_PATH
from webapp.settings import DEMO_PATH

# Whom a route answers. Open ones ask nobody for a cookie: sign-in, files of ours, tokens of others.
OPEN, MEMBER, TEAM, FINANCE, REVIEW, KEY, DIRECTORY = (
    "open",
    "member",
    "team",
    "finance",
    "review",
    "key",
    "directory",
)
DESKS = {TEAM, FINANCE, REVIEW}
# Stand-ins for other companies' services; they answer on their own machine alone.
STANDINS = (DEMO_PATH, STANDIN_PATH)
SECRET = "Zwetschge"  # stands in every name of the organisation that nobody else may see

ROUTES = {
    OPEN: """
        GET /healthz
        GET /login
        GET /login/{key}
        GET /callback/{key}
        GET /invite/{token}
        POST /logout
        GET /signed-out
        POST /backchannel-logout/{key}
        POST /stripe/webhook
        GET /verify
        POST /verify
        GET /report
        POST /report
        GET /manifest.json
    """,
    MEMBER: """
        GET /
        GET /agreements
        POST /agreements
        GET /licence
        POST /licence/attest
        POST /licence/withdraw
        GET /events
        GET /gallery
        PUT /gallery/{generation_id}/star
        DELETE /gallery/{generation_id}/star
        DELETE /gallery/{generation_id}
        GET /loras
        GET /loras/list
        POST /loras/file
        POST /loras/uploaders
        POST /loras/{adapter_id}/name
        POST /loras/{adapter_id}/remove
        GET /media/{picture_id}
        GET /media/{picture_id}/thumbnail
        GET /keys
        POST /keys
        POST /keys/{key_id}/revoke
        GET /refusals
        POST /refusals/{case_id}/appeal
        GET /pictures/{picture_id}/report
        POST /pictures/{picture_id}/report
    """,
    KEY: """
        POST /v1/generations
        GET /v1/generations
        GET /v1/generations/{generation_id}
        POST /v1/generations/{generation_id}/cancel
        GET /v1/generations/{generation_id}/pictures/{index}
        GET /v1/generations/{generation_id}/pictures/{index}/thumbnail
        GET /v1/account
        GET /v1/models
        POST /v1/quote
    """,
    DIRECTORY: """
        GET /scim/v2/ServiceProviderConfig
        GET /scim/v2/Schemas
        GET /scim/v2/Schemas/{name}
        GET /scim/v2/ResourceTypes
        GET /scim/v2/ResourceTypes/{name}
        GET /scim/v2/Users
        POST /scim/v2/Users
        GET /scim/v2/Users/{user_id}
        PUT /scim/v2/Users/{user_id}
        PATCH /scim/v2/Users/{user_id}
        DELETE /scim/v2/Users/{user_id}
        GET /scim/v2/Groups
        POST /scim/v2/Groups
        GET /scim/v2/Groups/{group_id}
        PUT /scim/v2/Groups/{group_id}
        PATCH /scim/v2/Groups/{group_id}
        DELETE /scim/v2/Groups/{group_id}
    """,
    TEAM: """
        GET /team/view
        GET /team/invite
        POST /team/invites
        GET /team/invites/{invite_id}
        POST /team/invites/{invite_id}/renew
        POST /team/invites/{invite_id}/revoke
        GET /team/members/{member_id}
        POST /team/members/{member_id}/role
        POST /team/members/{member_id}/{verb}
        POST /team/members/{member_id}/paying-team
        GET /team/members/{member_id}/pictures
        GET /team/members/{member_id}/pictures/archive.zip
        POST /team/members/{member_id}/pictures/hand-on
        POST /team/members/{member_id}/pictures/erase
        GET /team/leavers/{member_id}
        POST /team/leavers/{member_id}/hand-on
        POST /team/leavers/{member_id}/erase
        GET /team/groups/new
        POST /team/groups
        GET /team/groups/{team_id}
        POST /team/groups/{team_id}
        POST /team/groups/{team_id}/archive
        POST /team/groups/{team_id}/members
        POST /team/groups/{team_id}/members/{member_id}/remove
        GET /team/budgets/{scope}/{subject}
        POST /team/budgets/{scope}/{subject}
        POST /team/plan/subscribe
        POST /team/plan/seats
        POST /team/plan/keep
        POST /team/policy
        POST /team/import/plan
        POST /team/import
        POST /team/directory
        POST /team/directory/tokens
        POST /team/directory/tokens/{token_id}/rotate
        POST /team/directory/tokens/{token_id}/revoke
        POST /team/domains
        POST /team/domains/{domain_id}/verify
        POST /team/domains/{domain_id}/policy
        POST /team/domains/{domain_id}/provider
        POST /team/domains/{domain_id}/remove
        POST /team/keys/{key_id}/revoke
    """,
    FINANCE: """
        GET /finance/view
        GET /finance/table.csv
        GET /finance/files/{name}
        GET /finance/top-up
        POST /finance/top-up
        POST /finance/card
        POST /finance/card/remove
        GET /finance/automatic
        POST /finance/automatic
        POST /finance/automatic/stop
        POST /finance/alert
        POST /finance/notices/{notice_id}/dismiss
        GET /finance/payments/{payment_id}/refund
        POST /finance/payments/{payment_id}/refund
    """,
    REVIEW: """
        GET /review/view
        GET /review/cases/{case_id}/decide
        POST /review/cases/{case_id}/decide
        GET /review/cases/{case_id}/look
        POST /review/cases/{case_id}/look
        GET /review/cases/{case_id}/veil
        GET /review/cases/{case_id}/picture
        POST /review/cases/{case_id}/steps/{step}
        POST /review/access/{member_id}
        GET /review/transparency.csv
    """,
}
READERS = {
    tuple(line.split()): reader for reader, lines in ROUTES.items() for line in lines.split("\n")
    if line.strip()
}  # fmt: skip
# Forms that get past the check of their fields, so that what is asked about is the id.
FORMS = {
    "/team/members/{member_id}/pictures/hand-on": {"to": f"{uuid.UUID(int=7)}"},
    "/team/members/{member_id}/role": {"role": "admin"},
    "/team/domains/{domain_id}/policy": {"policy": "seat"},
    "/team/groups/{team_id}": {"name": "Ours now"},
    "/review/cases/{case_id}/decide": {"action": "allow", "reason": "Ours now"},
    "/review/cases/{case_id}/look": {"what": "prompt", "reason": "Ours now"},
    "/review/access/{member_id}": {"is_given": "true", "reason": "Ours now"},
    "/refusals/{case_id}/appeal": {"words": "Ours now"},
    "/loras/{adapter_id}/name": {"name": "Ours now"},
    "/pictures/{picture_id}/report": {"category": "rights"},
    "/finance/payments/{payment_id}/refund": {
        "amount": "1",
        "reason": "x",
        "key": f"{uuid.UUID(int=7)}",
    },
}  # fmt: skip
ENTERPRISE_SEATS = 60  # so that every feature is there
VERBS = ("suspend", "resume", "remove", "assign-seat", "revoke-seat")
SCOPES = ("member", "team")


PATCHED = {
    "schemas": [PATCH],
    "Operations": [{"op": "replace", "path": "displayName", "value": "Ours now"}],
}
PUT_USER = person("ours", active=False)
PUT_GROUP = {"schemas": [GROUP], "displayName": "Ours now", "externalId": "ours"}


@dataclass(frozen=True)
class Estate:
    """What an organisation has that others may want: the ids by the names that routes give them."""

    team: Team
    ids: dict[str, str]

    def paths(self, path: str) -> Iterator[str]:
        """Fill a route's path in, once for each verb and scope that it has."""
        for verb in VERBS if "{verb}" in path else ("",):
            for scope in SCOPES if "{scope}" in path else ("",):
                subject = self.ids["member_id" if scope == "member" else "team_id"]
                whose = "leaver_id" if "/pictures" in path or "leavers" in path else "member_id"
                member_id = self.ids[whose]
                named = {**self.ids, "verb": verb, "scope": scope, "subject": subject}
                yield path.format_map({**named, "member_id": member_id})


def routes_of(routes: list[BaseRoute], before: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of an application and of what is mounted in it, but the stand-ins."""
    for context in iter_route_contexts(routes):
        path = f"{before}{context.path}"
        if isinstance(context.route, Mount):
            if path not in STANDINS:
                yield from routes_of(list(context.route.routes or []), path)
            continue
        for method in sorted((context.methods or set()) - {"HEAD"}):
            yield method, path


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    running = open_work(stack, environ).running
    add_desks(running)
    return Desks(running, team(running.database, seat_ceiling=ENTERPRISE_SEATS))


@pytest.fixture
def estate(desks: Desks) -> Estate:
    """Give the team one of everything that has an id."""
    mine = desks.team
    with desks.running.database.transaction() as session:
        organisation = seats.get_organisation(session, mine.id)
        assert organisation is not None
        organisation.name = f"{SECRET} Works"
        person = member(session, organisation, Role.CREATOR, name=f"{SECRET} One", seated=False)
        leaver = member(session, organisation, Role.CREATOR, name=f"{SECRET} Two", seated=False)
        roster.remove(session, mine.owner, leaver.id)
        group = teams.create(session, mine.owner, name=f"{SECRET} Brand")
        teams.add(session, mine.owner, group.id, person.id)
        domain = domains.add(session, mine.owner, domain=f"{SECRET}.example")
        address = f"{SECRET}@nord.example"
        invite, token = invites.invite(
            session, mine.owner, email=address, role=Role.CREATOR, seated=False
        )
        key, _ = api_keys.create(session, mine.creator, name=f"{SECRET} key")
        directories.configure(
            session, mine.owner, issuer=mine.owner.issuer, seat_policy=SeatPolicy.SEAT
        )
        pass_, _ = directories.create_token(session, mine.owner, label=f"{SECRET} Entra")
        verdict = moderation.record(
            session,
            organisation_id=mine.id,
            member_id=mine.creator.id,
            generation_id=None,
            subject="prompt",
            action="block",
            category="hate",
            source="rules:test",
            excerpt=f"{SECRET} prompt",
        )
        case = session.scalars(select(ReviewCase).where(ReviewCase.verdict_id == verdict.id)).one()
        brought = Brought("ab" * 32, 6, "pocket", "peft", 12, 16)
        lora, _ = adapters.bring(session, mine.creator, brought, name=f"{SECRET} ink", triggers="")
        ids = {
            "adapter_id": lora.id,
            "member_id": person.id,
            "leaver_id": leaver.id,
            "team_id": group.id,
            "domain_id": domain.id,
            "invite_id": invite.id,
            "key_id": key.id,
            "token_id": pass_.id,
            "case_id": case.id,
        }
    work = Work(desks.running, mine.creator)
    agree(work, mine.creator)
    job = work.finished(f"{SECRET} in blue")
    with desks.running.database.transaction() as session:
        payment = top_ups.begin(session, mine.id, 10 * MICROS_PER_USD, author_id=mine.owner.id)
        notices.show(session, mine.id, "declined", f"{SECRET} card was declined.")
        (notice,) = notices.open_notices(session, mine.id)
        ids |= {
            "generation_id": job.id,
            "picture_id": job.pictures[0].id,
            "payment_id": payment.id,
            "user_id": person.id,
            "group_id": group.id,
        }
        words = {name: str(id_) for name, id_ in ids.items()} | {"notice_id": str(notice.id)}
    named = {"index": "0", "name": "x", "step": "seen", "token": token, "key": "demo"}
    return Estate(mine, {**words, **named})


def neighbour(desks: Desks) -> Team:
    """Found another organisation with every feature."""
    return team(desks.running.database, seat_ceiling=ENTERPRISE_SEATS)


def changes(running: Running, organisation_id: uuid.UUID) -> int:
    """Count what the history of an organisation has, and the logs of its reviewers."""
    logs = (AdapterChange, SeatChange, Appeal, Decision, Look, Report, ReviewGrant)
    with running.database.read() as session:
        own = [select(func.count()).where(log.organisation_id == organisation_id) for log in logs]
        return sum(session.scalars(query).one() for query in own)


def ask(client: httpx2.Client, method: str, path: str, route: str) -> httpx2.Response:
    data = FORMS.get(route, {}) if method != "GET" else None
    return client.request(method, path, data=data)


def test_it_is_said_of_every_route_whom_it_answers(desks: Desks) -> None:
    found = set(routes_of(desks.running.app.routes))
    assert found - set(READERS) == set(), "say in ROUTES whom the new route answers"
    assert set(READERS) - found == set(), "these routes are gone"


def test_a_stranger_is_asked_to_sign_in_everywhere(desks: Desks, estate: Estate) -> None:
    stranger = desks.running.browser(accept="application/json")
    before = changes(desks.running, desks.team.id)
    for (method, route), reader in READERS.items():
        if reader == OPEN:
            continue
        for path in estate.paths(route):
            answer = ask(stranger, method, path, route)
            assert answer.status_code == 401, (method, path, answer.text)
            assert SECRET not in answer.text
    assert changes(desks.running, desks.team.id) == before


def test_a_creator_opens_no_desk_and_no_program_s_door(desks: Desks, estate: Estate) -> None:
    creator = desks.ask(desks.team.creator)
    before = changes(desks.running, desks.team.id)
    for (method, route), reader in READERS.items():
        if reader in DESKS | {KEY, DIRECTORY}:
            for path in estate.paths(route):
                answer = ask(creator, method, path, route)
                expected = 403 if reader in DESKS else 401
                assert answer.status_code == expected, (method, path, answer.text)
                assert SECRET not in answer.text
    assert changes(desks.running, desks.team.id) == before


def test_another_organisation_does_not_exist_for_its_neighbours_owner(
    desks: Desks, estate: Estate
) -> None:
    owner = desks.ask(neighbour(desks).owner)
    before = changes(desks.running, desks.team.id)
    for (method, route), reader in READERS.items():
        if reader not in DESKS | {MEMBER} or route == "/events":
            continue
        for path in estate.paths(route):
            answer = ask(owner, method, path, route)
            assert answer.status_code < 500, (method, path, answer.text)
            assert SECRET.lower() not in answer.text.lower(), (method, path)
            if "{" in route:
                assert answer.status_code == 404, (method, path, answer.text)
    assert changes(desks.running, desks.team.id) == before


def test_another_site_acts_nowhere_through_a_signed_in_browser(
    desks: Desks, estate: Estate
) -> None:
    owner = desks.ask(desks.team.owner)
    before = changes(desks.running, desks.team.id)
    for (method, route), reader in READERS.items():
        if reader in DESKS | {MEMBER} and method != "GET":
            for path in estate.paths(route):
                for headers in (
                    {"origin": "https://evil.example"},
                    {"origin": "", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
                ):
                    data = FORMS.get(route, {})
                    answer = owner.request(method, path, data=data, headers=headers)
                    assert answer.status_code == 403, (path, headers, answer.text)
    assert changes(desks.running, desks.team.id) == before


def test_ids_of_others_in_a_form_do_not_exist_either(desks: Desks, estate: Estate) -> None:
    next_door = neighbour(desks)
    with desks.running.database.transaction() as session:
        group = teams.create(session, next_door.owner, name="Ours")
        roster.suspend(session, next_door.owner, next_door.creator.id)
    owner = desks.ask(next_door.owner)
    theirs, own = estate.ids, f"/team/members/{next_door.creator.id}"
    for path, data in (
        (f"/team/groups/{group.id}/members", {"member": theirs["member_id"]}),
        (f"{own}/paying-team", {"team": theirs["team_id"]}),
        (f"{own}/pictures/hand-on", {"to": theirs["member_id"]}),
        (f"/team/leavers/{next_door.creator.id}/hand-on", {"to": theirs["member_id"]}),
        (f"/team/groups/{group.id}/members/{theirs['member_id']}/remove", {}),
    ):
        answer = owner.post(path, data=data)
        assert answer.status_code == 404, (path, answer.text)
    read = owner.post("/team/import/plan", data={"text": f"email,team\na@b.example,{SECRET} Brand"})
    assert f"There is no team “{SECRET} Brand”" in read.text


def test_a_key_of_another_organisation_reaches_no_generation(desks: Desks, estate: Estate) -> None:
    owner = neighbour(desks).owner
    with desks.running.database.transaction() as session:
        _, token = api_keys.create(session, owner, name="all")
    program = desks.running.browser(accept="application/json", authorization=f"Bearer {token}")
    for (method, route), reader in READERS.items():
        if reader == KEY and "{" in route:
            for path in estate.paths(route):
                assert ask(program, method, path, route).status_code == 404, (method, path)
    assert SECRET not in program.get("/v1/generations").text


def test_a_directory_of_another_organisation_finds_nobody(desks: Desks, estate: Estate) -> None:
    owner = neighbour(desks).owner
    with desks.running.database.transaction() as session:
        directories.configure(session, owner, issuer=owner.issuer, seat_policy=SeatPolicy.SEAT)
        _, token = directories.create_token(session, owner, label="Entra")
    program = desks.running.browser(authorization=f"Bearer {token}")
    before = changes(desks.running, desks.team.id)
    for (method, route), reader in READERS.items():
        if reader == DIRECTORY and "_id}" in route:
            (path,) = estate.paths(route)
            body = {"PATCH": PATCHED, "PUT": PUT_USER if "Users" in path else PUT_GROUP}.get(method)
            answer = program.request(method, path, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
    group = {**PUT_GROUP, "members": [{"value": estate.ids["user_id"]}]}
    assert program.post("/scim/v2/Groups", json=group).status_code in {400, 404}
    for kind in ("Users", "Groups"):
        assert SECRET not in program.get(f"/scim/v2/{kind}").text
    assert changes(desks.running, desks.team.id) == before


def test_a_key_opens_no_page_and_a_cookie_no_program_s_door(desks: Desks, estate: Estate) -> None:
    with desks.running.database.transaction() as session:
        _, token = api_keys.create(session, desks.team.owner, name="all")
    program = desks.running.browser(accept="application/json", authorization=f"Bearer {token}")
    cookie = desks.running.browser(accept="application/json")
    cookie.headers["authorization"] = f"Bearer {open_for(desks.running, desks.team.owner)}"
    for (method, route), reader in READERS.items():
        if reader in DESKS | {MEMBER, DIRECTORY}:
            for path in estate.paths(route):
                answer = ask(program, method, path, route)
                assert answer.status_code == 401, (method, path, answer.text)
        if reader in {KEY, DIRECTORY}:
            for path in estate.paths(route):
                assert ask(cookie, method, path, route).status_code == 401, (method, path)
    assert program.get("/v1/account").status_code == 200
