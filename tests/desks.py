"""A studio with the team, finance and review desks, a full team, and a way to ask as anybody."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import httpx2
from factories import Team, team
from running import Running, start

from licensing.seats import Member
from webapp.identity import cookie_name
from webapp.sso.sessions import ProviderSession, open_session
from webapp.ui import finance, review
from webapp.ui import team as team_page


@dataclass(frozen=True)
class Desks:
    running: Running
    team: Team

    def ask(self, member: Member) -> httpx2.Client:
        """Return a client that is signed in as `member` and asks as the page's script does."""
        client = self.running.browser(accept="application/json")
        client.cookies.set(cookie_name(self.running.settings), open_for(self.running, member))
        return client

    def another(self) -> Team:
        """Found another organisation in the same studio."""
        return team(self.running.database)


def open_for(running: Running, member: Member) -> str:
    """Open a session as the end of a sign-in does; return the cookie's value."""
    provider = ProviderSession(
        provider="demo",
        issuer=member.issuer,
        subject=member.subject,
        provider_session=None,
        id_token="",
        access_token=None,
        refresh_token=None,
        renew_at=None,
    )
    with running.database.transaction() as session:
        return open_session(session, member, provider, lifetime=timedelta(hours=1))


def open_desks(
    stack: ExitStack,
    environ: dict[str, str],
    *,
    seat_ceiling: int = 50,
    balance_micros: int = 10**7,
) -> Desks:
    running = start(stack, environ)
    add_desks(running)
    made = team(running.database, seat_ceiling=seat_ceiling, balance_micros=balance_micros)
    return Desks(running, made)


def add_desks(running: Running) -> None:
    """Add what the pages' mounts add, without waiting for the pages themselves."""
    for page in (team_page, finance, review):
        running.app.include_router(page.routes(running.studio))


def message(answer: httpx2.Response) -> str:
    """Return the sentence of a refusal."""
    words = answer.json()["error"]["message"]
    assert isinstance(words, str)
    return words
