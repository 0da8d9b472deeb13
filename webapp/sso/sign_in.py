"""Single sign-on: sign-in page, departure to a provider, return, sign-out.

The control flow of a sign-in, read down: `start` remembers an attempt and sends the browser away;
`callback` takes that attempt once, lets `providers` verify the answer, finds the member by
(issuer, subject) and opens a new session. Provider calls happen outside of transactions.
"""

import secrets
from datetime import timedelta
from typing import cast
from urllib.parse import urlencode, urlsplit

from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from licensing import arrivals, provisioning, seats
from licensing.errors import NotAllowed, NotFound
from licensing.seats import Identity, Member, Organisation, Role, Status
from webapp import identity
from webapp.pages import page
from webapp.settings import Provider, Settings
from webapp.sso import attempts, sessions
from webapp.sso.attempts import Journey, SignInAttempt
from webapp.sso.providers import Arrival, ProviderAway, SignInFailed, arrive, depart, discover
from webapp.studio import Studio, studio_of

NEXT_CHARACTERS_MAX = 512  # a page's path with its query; longer ones lead home
INVITE_CHARACTERS_MAX = 64  # a token has 43
NOT_NEXT = ("/login", "/logout", "/callback", "/signed-out")  # would lead round in circles

router = APIRouter()


@router.get("/login")
def sign_in_page(request: Request) -> Response:
    """Offer the configured providers; whoever is signed in goes on at once."""
    studio = studio_of(request)
    onward = safe_next(request.query_params.get("next"))
    member = identity.current_member(studio, request)
    if member is not None:
        return RedirectResponse(onward if onward != "/" else identity.home(member), 303)
    return page(
        "login.html",
        providers=studio.settings.providers,
        query=urlencode({"next": onward}),
        has_ended=request.query_params.get("reason") == "ended",
        is_invited=False,
    )


@router.get("/invite/{token}")
def invite_page(request: Request, token: str) -> Response:
    """Offer the providers to somebody who follows an invite's link."""
    settings = studio_of(request).settings
    query = urlencode({"next": "/", "invite": token})
    return page(
        "login.html", providers=settings.providers, query=query, has_ended=False, is_invited=True
    )


@router.get("/login/{key}")
async def start(request: Request, key: str) -> Response:
    """Send the browser to a provider."""
    studio = studio_of(request)
    provider = _provider(studio, key)
    departure = await depart(_clients(request), provider, request, callback_url(studio, provider))
    browser = request.cookies.get(attempt_cookie(studio.settings)) or secrets.token_urlsafe(32)
    journey = Journey(
        next_path=safe_next(request.query_params.get("next")),
        invite_token=_invite_token(request),
    )

    def keep() -> None:
        with studio.database.transaction() as session:
            attempts.remember(
                session,
                state=departure.state,
                browser=browser,
                provider=provider.key,
                pending=departure.pending,
                journey=journey,
            )

    await run_in_threadpool(keep)
    departure.response.set_cookie(
        attempt_cookie(studio.settings),
        browser,
        max_age=int(attempts.ATTEMPT_LIFETIME.total_seconds()),
        secure=studio.settings.is_https,
        httponly=True,
        samesite="lax",  # strict would hide it from the provider's redirect back
    )
    return departure.response


@router.get("/callback/{key}")
async def callback(request: Request, key: str) -> Response:
    """Take the browser back from a provider and open its session."""
    studio = studio_of(request)
    provider = _provider(studio, key)
    attempt = await run_in_threadpool(_take_attempt, studio, request, provider)
    if attempt is None:
        # An old tab, or the back button: who is signed in has no use for an error.
        member = await run_in_threadpool(identity.current_member, studio, request)
        if member is not None:
            return RedirectResponse(identity.home(member), 303)
        raise SignInFailed(
            "This sign-in was not started in this browser, or it took longer than ten minutes. "
            "Start again."
        )
    arrival = await arrive(_clients(request), provider, request, attempt.pending)
    old_cookie = identity.session_cookie(studio, request)
    cookie, home = await run_in_threadpool(_open_session, studio, arrival, attempt, old_cookie)
    onward = attempt.next_path if attempt.next_path != "/" else home
    response = RedirectResponse(onward, 303)
    identity.set_session_cookie(response, studio.settings, cookie)
    return response


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """End the session here, then let the provider end its own."""
    studio = studio_of(request)
    ended = await run_in_threadpool(_end_session, studio, request)
    provider = studio.settings.provider(ended.provider) if ended else None
    onward = "/signed-out"
    if ended is not None and provider is not None:
        onward = await _provider_logout_url(request, provider, ended.id_token) or onward
    # A page that leads on, not a redirect: a form's redirect to another site is held back by the
    # browser under our own form-action rule.
    response = page("signing_out.html", onward=onward)
    identity.drop_session_cookie(response, studio.settings)
    return response


@router.get("/signed-out")
def signed_out_page() -> Response:
    """Say that the session is over."""
    return page("signed_out.html")


def callback_url(studio: Studio, provider: Provider) -> str:
    """Return the address that the operator registers at the provider."""
    return f"{studio.settings.url}/callback/{provider.key}"


def attempt_cookie(settings: Settings) -> str:
    """Return the cookie's name; over https the prefix keeps other hosts from setting it.

    Whoever could set it might lead a browser into a session of their own.
    """
    return "__Host-atelier_sign_in" if settings.is_https else "atelier_sign_in"


def safe_next(given: str | None) -> str:
    """Return `given` if it is a path of this site that a sign-in may lead to, else "/"."""
    if not given or len(given) > NEXT_CHARACTERS_MAX or not given.startswith("/"):
        return "/"
    if any(ord(character) <= ord(" ") or character in "\\\x7f" for character in given):
        return "/"
    parts = urlsplit(given)
    if given.startswith("//") or parts.scheme or parts.netloc or given.startswith(NOT_NEXT):
        return "/"
    return given


def _provider(studio: Studio, key: str) -> Provider:
    provider = studio.settings.provider(key)
    if provider is None:
        raise NotFound("There is no such sign-in provider.")
    return provider


def _invite_token(request: Request) -> str | None:
    token = request.query_params.get("invite")
    if token is not None and len(token) > INVITE_CHARACTERS_MAX:
        raise NotFound("This invite is not valid. Follow the link as you received it.")
    return token


def _clients(request: Request) -> OAuth:
    return cast("OAuth", request.app.state.clients)


def _take_attempt(studio: Studio, request: Request, provider: Provider) -> SignInAttempt | None:
    state = request.query_params.get("state")
    browser = request.cookies.get(attempt_cookie(studio.settings))
    if not state or not browser:
        return None
    with studio.database.transaction() as session:
        return attempts.take(session, state=state, browser=browser, provider=provider.key)


def _open_session(
    studio: Studio, arrival: Arrival, attempt: SignInAttempt, old_cookie: str | None
) -> tuple[str, str]:
    """Find the member and open a new session; return its cookie and the member's home."""
    with studio.database.transaction() as session:
        member = _admit(session, studio.settings, arrival.identity, attempt.invite_token)
        if member.status != Status.ACTIVE:
            raise NotAllowed("Your membership is suspended. An admin can resume it.")
        if old_cookie is not None:
            sessions.end_session(session, old_cookie)
        cookie = sessions.open_session(
            session,
            member,
            arrival.provider_session,
            lifetime=timedelta(hours=studio.settings.session_hours),
        )
        return cookie, identity.home(member)


def _admit(
    session: Session, settings: Settings, person: Identity, invite_token: str | None
) -> Member:
    """Return the member this person is, by account, by invite, or as the first owner."""
    if invite_token is not None:
        return arrivals.accept_invite(session, invite_token, person)
    owner = (settings.owner_email or "").strip().lower()
    if owner and person.email_verified and person.address == owner and _is_empty(session):
        # The first owner founds the organisation by signing in; later they are a member like all.
        organisation = seats.create_organisation(session, name=settings.organisation_name)
        return seats.add_member(session, organisation.id, person, role=Role.OWNER, seated=True)
    provisioning.claim(session, person)
    return arrivals.sign_in(session, person)


def _is_empty(session: Session) -> bool:
    return session.scalars(select(Organisation.id).limit(1)).first() is None


def _end_session(studio: Studio, request: Request) -> sessions.WebSession | None:
    cookie = identity.session_cookie(studio, request)
    if cookie is None:
        return None
    with studio.database.transaction() as session:
        return sessions.end_session(session, cookie)


async def _provider_logout_url(
    request: Request, provider: Provider, id_token: str | None
) -> str | None:
    """Return where the provider ends its own session; None if it offers no such page."""
    clients = _clients(request)
    try:
        metadata = await discover(clients, provider)
    except ProviderAway:
        return None  # we have ended ours, which is what was asked of us
    if not metadata.get("end_session_endpoint"):
        return None
    made = await clients.create_client(provider.key).create_logout_url(
        post_logout_redirect_uri=f"{studio_of(request).settings.url}/signed-out",
        id_token_hint=id_token,
        client_id=provider.client_id,
    )
    return cast("str", made["url"])
