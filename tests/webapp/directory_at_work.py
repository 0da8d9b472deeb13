"""An Enterprise organisation whose directory speaks SCIM to a running studio."""

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
from factories import Team, team
from running import Running, start

from licensing import directories
from licensing.directories import SCOPES
from licensing.domains import SeatPolicy
from licensing.seats import Member
from webapp.settings import DEMO_ISSUER

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass(frozen=True)
class Push:
    running: Running
    team: Team
    client: httpx2.Client

    def user(self, name: str = "ada", **more: Any) -> dict[str, Any]:
        """Send a person as Entra does; return what the studio answers."""
        answer = self.client.post("/Users", json=person(name, **more))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def group(self, name: str, *ids: str) -> dict[str, Any]:
        members = [{"value": each} for each in ids]
        body = {"schemas": [GROUP], "displayName": name, "externalId": name, "members": members}
        answer = self.client.post("/Groups", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def patch(self, place: str, *operations: dict[str, Any]) -> httpx2.Response:
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return self.client.patch(place, json=body)

    def find(self, **wanted: str) -> list[dict[str, Any]]:
        (name, value), *_ = wanted.items()
        answer = self.client.get("/Users", params={"filter": f'{name} eq "{value}"'})
        assert answer.status_code == 200, answer.text
        return list(answer.json().get("Resources", []))

    def member(self, user: dict[str, Any]) -> Member:
        with self.running.database.read() as session:
            found = session.get(Member, uuid.UUID(user["id"]))
        assert found is not None
        return found


def person(name: str, **more: Any) -> dict[str, Any]:
    """Describe somebody as a directory does."""
    return {
        "schemas": [CORE, ENTERPRISE],
        "externalId": f"id-of-{name}",
        "userName": f"{name}@nord.example",
        "active": True,
        "displayName": f"{name.title()} Byron",
        "name": {"givenName": name.title(), "familyName": "Byron"},
        "emails": [{"value": f"{name}@nord.example", "type": "work", "primary": True}],
        ENTERPRISE: {"department": "Design"},
        **more,
    }


def open_push(
    stack: ExitStack,
    environ: dict[str, str],
    *,
    seat_policy: SeatPolicy = SeatPolicy.SEAT,
    running: Running | None = None,
) -> Push:
    """Start a studio, found an organisation of 60 seats and connect its directory."""
    running = running or start(stack, environ)
    made = team(running.database, seat_ceiling=60)
    return connect(running, made, seat_policy=seat_policy)


def connect(
    running: Running,
    made: Team,
    *,
    seat_policy: SeatPolicy = SeatPolicy.SEAT,
    scopes: tuple[str, ...] = SCOPES,
) -> Push:
    with running.database.transaction() as session:
        directories.configure(session, made.owner, issuer=DEMO_ISSUER, seat_policy=seat_policy)
        _, token = directories.create_token(session, made.owner, label="Entra", scopes=scopes)
    return Push(running, made, caller(running, token))


def caller(running: Running, token: str) -> httpx2.Client:
    """Return a client as a directory's: no cookie, no Origin, a token."""
    return running.stack.enter_context(
        httpx2.Client(
            base_url=f"{running.settings.url}/scim/v2",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/scim+json"},
            trust_env=False,
            timeout=30,
        )
    )
