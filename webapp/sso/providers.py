"""The configured OpenID Connect providers as Authlib clients: discovery, sign-in, claims.

Everything that speaks OpenID Connect to a provider stands here, the demo provider included. What
must hold: PKCE with S256, state and nonce on every sign-in; an ID token counts only if a listed
asymmetric algorithm signed it, for us, by this issuer, with our nonce, and it has not run out.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from licensing.errors import AtelierError
from licensing.seats import Identity
from webapp.settings import Provider, Settings
from webapp.sso.sessions import ProviderSession

PROVIDER_TIMEOUT_SECONDS = 10.0  # a person waits for the answer
CLOCK_LEEWAY_SECONDS = 60  # two well-kept clocks differ by less
# "none" and the HMAC family would let whoever knows the client id, or its secret, sign tokens.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)


class SignInFailed(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The sign-in did not come to its end; the person may start again."""

    code = "sign_in_failed"
    status = 400


class ProviderAway(SignInFailed):
    """The provider did not answer, or not as the standard asks."""

    code = "provider_away"
    status = 502


@dataclass(frozen=True)
class Departure:
    """The redirect to the provider, and what must be remembered until the browser returns."""

    response: Response
    state: str
    pending: dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """Whom the provider has sent back."""

    identity: Identity
    provider_session: ProviderSession


def build_clients(settings: Settings, update_token: Any = None) -> OAuth:
    """Register every configured provider with Authlib; nothing is fetched yet."""
    clients = OAuth(update_token=update_token)
    for provider in settings.providers:
        wants_offline = "offline_access" in provider.scopes.split()
        clients.register(
            provider.key,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            server_metadata_url=provider.metadata_url,
            # The standard grants offline access only where the person is asked for it.
            authorize_params={"prompt": "consent"} if wants_offline else None,
            client_kwargs={
                "scope": provider.scopes,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": (
                    "client_secret_basic" if provider.client_secret else "none"
                ),
                "timeout": PROVIDER_TIMEOUT_SECONDS,
                # Renewing early would spend the refresh token during sign-in already.
                "leeway": 0,
            },
        )
    return clients


async def discover(clients: OAuth, provider: Provider) -> dict[str, Any]:
    """Return the provider's metadata, fetched once; raises `ProviderAway`."""
    client = clients.create_client(provider.key)
    try:
        metadata: dict[str, Any] = await client.load_server_metadata()
    except (httpx2.HTTPError, ValueError) as error:
        raise ProviderAway(_away(provider)) from error
    announced = metadata.get("issuer")
    if announced != provider.issuer:
        client.server_metadata.clear()  # to be asked again once that is mended
        raise ProviderAway(
            f"{provider.label} calls itself {announced}, and is configured as "
            f"{provider.issuer}. Your administrator has to set the issuer exactly so."
        )
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [a for a in offered if a in ALGORITHMS]
    return metadata


async def depart(
    clients: OAuth, provider: Provider, request: Request, callback_url: str
) -> Departure:
    """Build the redirect to the provider's sign-in page; raises `ProviderAway`."""
    await discover(clients, provider)
    pending: dict[str, Any] = {}
    request.scope["session"] = pending  # Authlib writes state, nonce and verifier there
    client = clients.create_client(provider.key)
    response: Response = await client.authorize_redirect(request, callback_url)
    (key,) = pending
    return Departure(response, state=key.rsplit("_", 1)[-1], pending=pending)


async def arrive(
    clients: OAuth, provider: Provider, request: Request, pending: dict[str, Any]
) -> Arrival:
    """Exchange the code and verify who came back; raises `SignInFailed`."""
    metadata = await discover(clients, provider)
    _check_mix_up(request, provider, metadata)
    request.scope["session"] = pending
    client = clients.create_client(provider.key)
    try:
        token = await client.authorize_access_token(
            request,
            leeway=CLOCK_LEEWAY_SECONDS,
            claims_options={
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
        )
        claims = token.get("userinfo")
        if claims is None:
            raise SignInFailed(f"{provider.label} did not say who you are (no ID token).")
        profile = await _profile(client, metadata, token, claims)
    except OAuthError as error:
        raise SignInFailed(_refusal(provider, error)) from error
    except (JoseError, ValueError) as error:
        raise SignInFailed(
            f"The answer of {provider.label} could not be verified. Start again."
        ) from error
    except httpx2.HTTPError as error:
        raise ProviderAway(_away(provider)) from error
    return _arrival(provider, token, claims, profile)


def expiry(token: dict[str, Any]) -> datetime | None:
    """Return when an access token has to be renewed; None if it cannot or need not be."""
    at = token.get("expires_at")
    if at is None or not token.get("refresh_token"):
        return None
    return datetime.fromtimestamp(int(at), UTC)


async def _profile(
    client: Any, metadata: dict[str, Any], token: dict[str, Any], claims: dict[str, Any]
) -> dict[str, Any]:
    """Return the person's claims, asking for those that the ID token leaves out."""
    if claims.get("email") or not metadata.get("userinfo_endpoint"):
        return claims
    more = await client.userinfo(token=token)
    if more.get("sub") != claims["sub"]:
        raise ValueError("the user info speaks of somebody else")
    return {**claims, **more}


def _arrival(
    provider: Provider, token: dict[str, Any], claims: dict[str, Any], profile: dict[str, Any]
) -> Arrival:
    email = str(profile.get("email") or "")
    name = profile.get("name") or profile.get("preferred_username") or email or claims["sub"]
    return Arrival(
        Identity(
            issuer=provider.issuer,
            subject=str(claims["sub"]),
            email=email,
            # Some providers send the text "true"; anything else is not a yes.
            email_verified=profile.get("email_verified") in (True, "true"),
            name=str(name),
        ),
        ProviderSession(
            provider=provider.key,
            issuer=provider.issuer,
            subject=str(claims["sub"]),
            provider_session=claims.get("sid"),
            id_token=token["id_token"],
            access_token=token.get("access_token"),
            refresh_token=token.get("refresh_token"),
            renew_at=expiry(token),
        ),
    )


def _check_mix_up(request: Request, provider: Provider, metadata: dict[str, Any]) -> None:
    """Refuse an answer that another provider gave (RFC 9207)."""
    given = request.query_params.get("iss")
    announced = metadata.get("authorization_response_iss_parameter_supported") is True
    if given != provider.issuer and (given is not None or announced):
        raise SignInFailed(f"This answer did not come from {provider.label}. Start again.")


def _refusal(provider: Provider, error: OAuthError) -> str:
    if error.error == "access_denied":
        return f"The sign-in at {provider.label} was cancelled. Start again when you like."
    return f"{provider.label} refused the sign-in ({error.error}). Start again."


def _away(provider: Provider) -> str:
    return f"{provider.label} does not answer. Try again in a moment."
