"""The demo provider: an OpenID Connect provider in miniature, on loopback, for trying the studio.

It asks for no password, so it must never answer anybody but this machine: it refuses to be built
beside a real provider or for any other address, and each request must come from loopback. The
studio talks to it over HTTP exactly as to any provider: discovery, keys, PKCE, rotation, logout.

Codes and refresh tokens are signed and short, and each works once. The memory of spent ones is the
process's own; the signing key lies in the state folder, so that a restart signs nobody out.
"""

import hashlib
import json
import os
import secrets
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, FastAPI, Form
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from webapp import errors
from webapp.demo import PEOPLE, Person
from webapp.pages import page
from webapp.security import LoopbackOnly
from webapp.settings import DEMO_CLIENT_ID, DEMO_ISSUER, Settings, SettingsProblem, is_loopback

ALGORITHM = "ES256"
CODE_SECONDS = 60
ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600

router = APIRouter()


def build_demo_provider(settings: Settings, base_url: str) -> FastAPI:
    """Build the provider that answers at `base_url`; raises `SettingsProblem` off loopback."""
    own = is_loopback(urlsplit(base_url).hostname or "") and is_loopback(settings.host)
    if not own or not is_loopback(urlsplit(settings.url).hostname or ""):
        raise SettingsProblem(
            "The demo provider asks for no password, so it answers on loopback alone: set "
            "OIDC_ISSUER to a real provider before you set ATELIER_HOST or ATELIER_URL."
        )
    if not settings.has_demo_provider:
        raise SettingsProblem("The demo provider does not run beside a configured provider.")
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.provider = DemoProvider(settings, base_url)
    app.include_router(router)
    app.add_middleware(LoopbackOnly, name="The demo provider")
    errors.install(app)
    return app


class DemoProvider:
    """The provider's key, its one client, and the tokens that were spent."""

    def __init__(self, settings: Settings, base_url: str) -> None:
        self.base_url = base_url
        self.callback_url = f"{settings.url}/callback/demo"
        self.signed_out_url = f"{settings.url}/signed-out"
        self.key = _signing_key(settings.state)
        self._spent: dict[str, float] = {}  # token id -> when it runs out by itself

    def sign(self, kind: str, person: Person, seconds: int, **claims: Any) -> str:
        """Return a token of `kind` about `person` that holds for `seconds`."""
        at = int(time.time())
        header = {"alg": ALGORITHM, "kid": self.key.kid, "typ": kind}
        body = {
            "iss": DEMO_ISSUER,
            "sub": person.subject,
            "aud": DEMO_CLIENT_ID,
            "iat": at,
            "exp": at + seconds,
            "jti": secrets.token_urlsafe(16),
            **claims,
        }
        return jwt.encode(header, body, self.key, algorithms=[ALGORITHM])

    def read(self, kind: str, token: str) -> dict[str, Any]:
        """Return the claims of a token of `kind`; raises `JoseError` or `ValueError`."""
        decoded = jwt.decode(token, self.key, algorithms=[ALGORITHM])
        if decoded.header.get("typ") != kind:
            raise ValueError("this token is of another kind")
        jwt.JWTClaimsRegistry(iss={"value": DEMO_ISSUER}, exp={"essential": True}).validate(
            decoded.claims
        )
        return dict(decoded.claims)

    def spend(self, claims: dict[str, Any]) -> bool:
        """Use a token up; False if it was used before."""
        at = time.time()
        for token_id in [known for known, until in self._spent.items() if until < at]:
            del self._spent[token_id]
        if claims["jti"] in self._spent:
            return False
        self._spent[claims["jti"]] = claims["exp"]
        return True


@router.get("/.well-known/openid-configuration")
def configuration(request: Request) -> dict[str, Any]:
    """Discovery."""
    base = _provider(request).base_url
    return {
        "issuer": DEMO_ISSUER,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "userinfo_endpoint": f"{base}/userinfo",
        "jwks_uri": f"{base}/keys",
        "end_session_endpoint": f"{base}/logout",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "scopes_supported": ["openid", "email", "profile", "offline_access"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


@router.get("/keys")
def keys(request: Request) -> dict[str, Any]:
    """The public half of the signing key."""
    key = _provider(request).key
    return {"keys": [key.as_dict(private=False, use="sig", alg=ALGORITHM)]}


@router.get("/authorize")
def choose(request: Request) -> Response:
    """Offer one person a role."""
    problem = _problem(request)
    if problem is not None:
        return JSONResponse({"error": "invalid_request", "error_description": problem}, 400)
    return page("demo_sign_in.html", people=PEOPLE, action=f"?{request.url.query}")


@router.post("/authorize")
def authorize(request: Request, subject: Annotated[str, Form()]) -> Response:
    """Send the browser back with a code for the person that was chosen."""
    problem = _problem(request)
    person = _person(subject)
    if problem is not None or person is None:
        problem = problem or "there is no such person"
        return JSONResponse({"error": "invalid_request", "error_description": problem}, 400)
    provider, asked = _provider(request), request.query_params
    code = provider.sign(
        "code",
        person,
        CODE_SECONDS,
        nonce=asked.get("nonce"),
        challenge=asked["code_challenge"],
        sid=secrets.token_urlsafe(16),
    )
    answer = {"code": code, "state": asked.get("state", ""), "iss": DEMO_ISSUER}
    return RedirectResponse(f"{provider.callback_url}?{urlencode(answer)}", 303)


@router.post("/token")
def token(
    request: Request,
    grant_type: Annotated[str, Form()],
    code: Annotated[str, Form()] = "",
    code_verifier: Annotated[str, Form()] = "",
    refresh_token: Annotated[str, Form()] = "",
) -> Response:
    """Exchange a code (with its PKCE verifier) or a refresh token, each of which works once."""
    provider = _provider(request)
    is_code = grant_type == "authorization_code"
    try:
        claims = provider.read("code" if is_code else "refresh", code if is_code else refresh_token)
    except (JoseError, ValueError):
        return JSONResponse({"error": "invalid_grant"}, 400)
    person = _person(claims["sub"])
    proven = not is_code or secrets.compare_digest(_s256(code_verifier), claims["challenge"])
    if person is None or not proven or not provider.spend(claims):
        return JSONResponse({"error": "invalid_grant"}, 400)
    about = {"email": person.email, "email_verified": True, "name": person.name}
    nonce = {"nonce": claims["nonce"]} if claims.get("nonce") else {}
    return JSONResponse(
        {
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "scope": "openid email profile offline_access",
            "access_token": provider.sign("access", person, ACCESS_SECONDS),
            "refresh_token": provider.sign("refresh", person, REFRESH_SECONDS, sid=claims["sid"]),
            "id_token": provider.sign(
                "JWT", person, ACCESS_SECONDS, sid=claims["sid"], **about, **nonce
            ),
        },
        headers={"Cache-Control": "no-store"},
    )


@router.get("/userinfo")
def user_info(request: Request) -> Response:
    """Say whom an access token speaks of."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        claims = _provider(request).read("access", given if scheme.lower() == "bearer" else "")
    except (JoseError, ValueError):
        return JSONResponse({"error": "invalid_token"}, 401)
    person = _person(claims["sub"])
    if person is None:
        return JSONResponse({"error": "invalid_token"}, 401)
    about = {"email": person.email, "email_verified": True, "name": person.name}
    return JSONResponse({"sub": person.subject, **about})


@router.get("/logout")
def end_session(request: Request) -> Response:
    """There is no session here to end: lead back, if that is where the studio wants it."""
    provider = _provider(request)
    onward = request.query_params.get("post_logout_redirect_uri")
    if onward != provider.signed_out_url:
        return JSONResponse({"error": "invalid_request"}, 400)
    state = request.query_params.get("state", "")
    return RedirectResponse(f"{onward}?{urlencode({'state': state})}", 303)


def _problem(request: Request) -> str | None:
    asked = request.query_params
    if asked.get("client_id") != DEMO_CLIENT_ID:
        return "unknown client"
    if asked.get("redirect_uri") != _provider(request).callback_url:
        return "unknown redirect_uri"
    if asked.get("response_type") != "code" or "openid" not in asked.get("scope", "").split():
        return "only the code flow of OpenID Connect is offered"
    if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
        return "PKCE with S256 is required"
    return None


def _provider(request: Request) -> DemoProvider:
    provider = request.app.state.provider
    assert isinstance(provider, DemoProvider)
    return provider


def _person(subject: str) -> Person | None:
    return next((person for person in PEOPLE if person.subject == subject), None)


def _s256(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _signing_key(state: Path) -> ECKey:
    """Read the key from the state folder, or make it there, readable by its owner alone."""
    path = state / "demo-provider-key.json"
    if path.exists():
        return ECKey.import_key(json.loads(path.read_text()))
    key = ECKey.generate_key("P-256", auto_kid=True)
    state.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")  # a disk that fills up must not leave half a key
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(key.as_dict(private=True), file)
    partial.replace(path)
    return key
