"""Back-channel logout: a provider tells us, server to server, that a session is over.

Owns the table `logout_token`, which remembers each token's id until it has run out, so that a
token works once. What must hold before a session is ended: signed by the provider's own key, typed
as a logout token, issued for us by that issuer moments ago, and carrying no nonce.
"""

from datetime import UTC, datetime
from typing import Any, cast

import httpx2
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from licensing.db import Base, now
from webapp.settings import Provider
from webapp.sso import sessions
from webapp.sso.providers import CLOCK_LEEWAY_SECONDS, ProviderAway, discover
from webapp.studio import Studio, studio_of

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_TYPE = "logout+jwt"  # noqa: S105 - the standard's explicit type, not a secret
TOKEN_CHARACTERS_MAX = 16_384  # a logout token is about one kilobyte
AGE_SECONDS_MAX = 600  # a provider retries for minutes; an older token is a replay

router = APIRouter()


class LogoutToken(Base):
    """A logout token that has been used."""

    __tablename__ = "logout_token"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


@router.post("/backchannel-logout/{key}")
async def back_channel_logout(request: Request, key: str) -> Response:
    """End the sessions that the provider's logout token names; 400 for a token that is not good."""
    studio = studio_of(request)
    provider = studio.settings.provider(key)
    if provider is None:
        return _refuse("unknown provider")
    async with request.form() as form:
        token = form.get("logout_token")
    if not isinstance(token, str) or len(token) > TOKEN_CHARACTERS_MAX:
        return _refuse("logout_token is missing or too long")
    try:
        claims = await _verify(cast("OAuth", request.app.state.clients), provider, token)
    except ProviderAway as error:
        return JSONResponse(
            {"error": "temporarily_unavailable", "error_description": error.message}, 503
        )
    except (JoseError, httpx2.HTTPError, ValueError) as error:
        return _refuse(str(error))
    if not await run_in_threadpool(_end, studio, provider, claims):
        return _refuse("this token was used before")
    return Response(status_code=200, headers={"Cache-Control": "no-store"})


async def _verify(clients: OAuth, provider: Provider, token: str) -> dict[str, Any]:
    """Return the claims of a good logout token; raises `JoseError` or `ValueError` otherwise."""
    metadata = await discover(clients, provider)
    client = clients.create_client(provider.key)
    registry = JWSRegistry(
        algorithms=metadata["id_token_signing_alg_values_supported"], strict_check_header=False
    )
    try:
        keys = KeySet.import_key_set(await client.fetch_jwk_set())
        decoded = jwt.decode(token, key=keys, registry=registry)
    except InvalidKeyIdError:  # the provider has a new key since we last looked
        keys = KeySet.import_key_set(await client.fetch_jwk_set(force=True))
        decoded = jwt.decode(token, key=keys, registry=registry)
    if str(decoded.header.get("typ", "")).lower().removeprefix("application/") != TOKEN_TYPE:
        raise ValueError(f"the token's type is not {TOKEN_TYPE}")
    claims = dict(decoded.claims)
    jwt.JWTClaimsRegistry(
        leeway=CLOCK_LEEWAY_SECONDS,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.client_id},
        iat={"essential": True},
        jti={"essential": True},
    ).validate(claims)
    if now().timestamp() - claims["iat"] > AGE_SECONDS_MAX:
        raise ValueError("the token is too old")
    if "nonce" in claims:
        raise ValueError("a logout token carries no nonce")
    if not _names_a_logout(claims):
        raise ValueError("the token does not say that a session is over, or whose")
    return claims


def _names_a_logout(claims: dict[str, Any]) -> bool:
    events = claims.get("events")
    named = [claims[name] for name in ("sub", "sid") if name in claims]
    return (
        isinstance(events, dict)
        and isinstance(events.get(EVENT), dict)
        and bool(named)
        and all(isinstance(value, str) and value for value in named)
    )


def _end(studio: Studio, provider: Provider, claims: dict[str, Any]) -> bool:
    with studio.database.transaction() as session:
        if not _use_once(session, provider.issuer, claims):
            return False
        sessions.end_at_provider(
            session,
            provider.issuer,
            subject=claims.get("sub"),
            provider_session=claims.get("sid"),
        )
        return True


def _use_once(session: Session, issuer: str, claims: dict[str, Any]) -> bool:
    session.execute(delete(LogoutToken).where(LogoutToken.expires_at <= now()))
    # Remembered until its age alone refuses it.
    until = datetime.fromtimestamp(claims["iat"] + AGE_SECONDS_MAX + CLOCK_LEEWAY_SECONDS, UTC)
    statement = (
        insert(LogoutToken)
        .values(issuer=issuer, jti=str(claims["jti"]), expires_at=until)
        .on_conflict_do_nothing()
        .returning(LogoutToken.jti)
    )
    return session.execute(statement).one_or_none() is not None


def _refuse(reason: str) -> JSONResponse:
    return JSONResponse(
        {"error": "invalid_request", "error_description": reason},
        400,
        {"Cache-Control": "no-store"},
    )
