"""An OpenID Connect provider that lies: it answers with whatever token a test asks it for."""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from fastapi import FastAPI, Form
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from running import Running, free_port, serve, start
from starlette.responses import JSONResponse, Response

from licensing import seats
from licensing.seats import Identity, Role

CLIENT_ID = "atelier"
CLIENT_SECRET = "a-secret-of-the-tests-long-enough-for-hmac"
SUBJECT = "someone"

Key = ECKey | RSAKey | OctKey


@dataclass
class Forger:
    """What the provider says next; `sign` makes tokens with its own key unless told otherwise."""

    issuer: str
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", auto_kid=True))
    answer: Callable[[dict[str, Any]], dict[str, Any] | Response] = dict
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good ID token claims, changed; a change to None takes the claim away."""
        at = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": CLIENT_ID,
            "iat": at,
            "exp": at + 300,
            "sid": "session-1",
            "email": "someone@example.org",
            "email_verified": True,
            "name": "Some One",
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def sign(
        self, claims: dict[str, Any], key: Key | None = None, alg: str = "ES256", typ: str = "JWT"
    ) -> str:
        header = {"alg": alg, "typ": typ, "kid": self.key.kid}
        return jwt.encode(header, claims, key or self.key, algorithms=[alg])


def start_forger(stack: ExitStack, environ: dict[str, str]) -> tuple[Forger, Running]:
    """Start a lying provider, and a studio with one owner that trusts it."""
    port = free_port()
    forger = Forger(f"http://127.0.0.1:{port}")
    stack.enter_context(serve(build(forger), port))
    provider = {
        "OIDC_ISSUER": forger.issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_NAME": "Example Accounts",
    }
    studio = start(stack, {**environ, **provider})
    with studio.database.transaction() as session:
        organisation = seats.create_organisation(session, name="Example")
        identity = Identity(forger.issuer, SUBJECT, "someone@example.org", True, "Some One")
        seats.add_member(session, organisation.id, identity, role=Role.OWNER, seated=True)
    return forger, studio


def come_back(studio: Running, forger: Forger, **changes: str) -> httpx2.Response:
    """Sign in up to the callback, whose parameters may be `changes`d; return its answer."""
    return come_back_in(studio.browser(), forger, **changes)


def come_back_in(browser: httpx2.Client, forger: Forger, **changes: str) -> httpx2.Response:
    departure = browser.get("/login/oidc").headers["location"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(departure).query).items()}
    forger.asked.append(asked)
    answer = {"code": secrets.token_urlsafe(8), "state": asked["state"], **changes}
    return browser.get("/callback/oidc", params=answer)


def build(forger: Forger) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/.well-known/openid-configuration")
    def configuration() -> dict[str, Any]:
        return {
            "issuer": forger.issuer,
            "authorization_endpoint": f"{forger.issuer}/authorize",
            "token_endpoint": f"{forger.issuer}/token",
            "jwks_uri": f"{forger.issuer}/keys",
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            **forger.metadata,
        }

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [forger.key.as_dict(private=False, use="sig", alg="ES256")]}

    @app.post("/token")
    def token(code_verifier: Annotated[str, Form()]) -> Response:
        answer = forger.answer({**forger.asked[-1], "code_verifier": code_verifier})
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    return app
