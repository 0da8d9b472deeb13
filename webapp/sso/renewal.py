"""Ask the provider again: renew access tokens as they run out, end sessions that it disowns.

A session at a provider that issues refresh tokens lives only as long as the provider goes on
renewing it; an account that is closed there is signed out here within one access token's lifetime.
Rotation: a refresh token is spent by its use, so one renewal at a time holds a lease on the row,
the network is asked with no transaction open, and Authlib's update hook stores the new pair under
the row's lock before anything else happens.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

from licensing.db import Database
from webapp.settings import Provider, Settings
from webapp.sso import sessions
from webapp.sso.providers import ProviderAway, build_clients, discover, expiry
from webapp.sso.sessions import WebSession
from webapp.studio import Studio

RENEW_EVERY_SECONDS = 15.0
RENEWALS_AT_ONCE_MAX = 50  # one round stays short; the next one follows at once
LEASE = timedelta(seconds=60)  # longer than a provider may take to answer
REFUSALS = {401, 403}

log = logging.getLogger("atelier.renewal")


def renewing_clients(settings: Settings, database: Database) -> OAuth:
    """Build the providers' clients, with the hook that stores rotated tokens."""

    async def update_token(
        provider: str, token: dict[str, Any], refresh_token: str | None = None, **_: Any
    ) -> None:
        def store() -> None:
            with database.transaction() as session:
                sessions.store_renewal(
                    session,
                    provider,
                    refresh_token or "",
                    access_token=token["access_token"],
                    refresh_token=token.get("refresh_token"),
                    renew_at=expiry(token),
                )

        await run_in_threadpool(store)

    return build_clients(settings, update_token)


async def keep_renewing(studio: Studio, clients: OAuth) -> None:
    """Renew what is due, for as long as the process runs."""
    while True:
        await asyncio.sleep(RENEW_EVERY_SECONDS)
        try:
            while await renew_due(studio, clients) == RENEWALS_AT_ONCE_MAX:
                pass
        except OperationalError as error:
            log.warning("renewal waits for the database: %s", error)


async def renew_due(studio: Studio, clients: OAuth) -> int:
    """Renew or end the sessions whose access token has run out; return how many were asked."""
    due = await run_in_threadpool(_claim, studio.database)
    for row in due:
        provider = studio.settings.provider(row.provider)
        if provider is None or not await _still_vouches(clients, provider, row):
            await run_in_threadpool(_end, studio.database, row)
    return len(due)


async def _still_vouches(clients: OAuth, provider: Provider, row: WebSession) -> bool:
    """Whether the provider renews this session. No answer counts as yes; the lease runs out."""
    try:
        metadata = await discover(clients, provider)
        if not metadata.get("userinfo_endpoint"):
            return True
        spent = {
            "access_token": row.access_token,
            "refresh_token": row.refresh_token,
            "token_type": "Bearer",
            "expires_at": 1,  # it has run out: Authlib renews it first, through the hook
        }
        person = await clients.create_client(provider.key).userinfo(token=spent)
    except OAuthError as error:
        log.info("%s ended a session: %s", provider.key, error.error)
        return False
    except httpx2.HTTPStatusError as error:
        return error.response.status_code not in REFUSALS
    except (httpx2.HTTPError, ProviderAway, ValueError) as error:
        log.warning("%s did not answer a renewal: %s", provider.key, error)
        return True
    return bool(person.get("sub") == row.subject)


def _claim(database: Database) -> list[WebSession]:
    with database.transaction() as session:
        return sessions.claim_renewals(session, lease=LEASE, limit=RENEWALS_AT_ONCE_MAX)


def _end(database: Database, row: WebSession) -> None:
    with database.transaction() as session:
        sessions.end_by_id(session, row.id)
