"""What holds for every request and answer, whoever asks: host, origin, size, headers.

Each piece is a small ASGI wrapper; `webapp.app` stacks them outside everything else. No other
site may act through a signed-in browser, read an answer, frame a page or make this server fetch.
"""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference import adapter_files
from inference.safety.uploads import FILE_BYTES_MAX
from licensing.errors import AtelierError, NotAllowed, NotFound
from webapp import bringing, report, verify
from webapp.door import PAGES
from webapp.errors import PROGRAM_PATHS, answer
from webapp.settings import Settings, is_loopback

BODY_BYTES_MAX = 1_048_576  # prompts and forms are kilobytes
# The routes that take a file; a form around it adds a little.
UPLOAD_BYTES_MAX = {
    verify.PATH: FILE_BYTES_MAX + 4096,
    bringing.PATH: adapter_files.FILE_BYTES_MAX,
    report.PATH: FILE_BYTES_MAX + 65_536,
}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
HEALTH_PATH = "/healthz"  # asked by load balancers under an address of their own

# The page library runs templates through eval; our own pages need no such thing.
_SHARED = (
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'; object-src 'none'"
)
CSP_PAGES = f"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; {_SHARED}"
CSP_PLAIN = f"default-src 'self'; script-src 'self'; {_SHARED}"

# `/gradio_api/file=http://…` would make the server itself fetch an address that a browser names.
_FETCHES_AN_ADDRESS = re.compile(r"/file[=/]\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


class TooLarge(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The request's body is over the limit."""

    code = "too_large"
    status = 413


class Guard:
    """Turn away what no page of ours would send, before anything else looks at it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        parts = urlsplit(settings.url)
        self._host = parts.netloc
        self._is_loopback = is_loopback(parts.hostname or "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == HEALTH_PATH:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        refusal = self._refuse(request)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _limited(receive, body_bytes_max(scope["path"])), send)

    def _refuse(self, request: Request) -> Response | None:
        if request.headers.get("host") != self._host:
            return self._other_host(request)
        length = request.headers.get("content-length", "0")
        most = body_bytes_max(request.url.path)
        if not length.isdigit() or int(length) > most:
            return answer(request, TooLarge(f"A request to this address may have {most:,} bytes."))
        if _FETCHES_AN_ADDRESS.search(request.url.path):
            return answer(request, NotFound("There is nothing here."))
        if request.url.path.startswith(PROGRAM_PATHS):
            return None  # a token opens these, and no browser sends one by itself
        if is_foreign(request.headers, request.method, self._settings.url):
            return answer(
                request,
                NotAllowed("This request came from another site, so it was not carried out."),
            )
        return None

    def _other_host(self, request: Request) -> Response:
        """Send localhost to the one address that cookies and sign-in are made for."""
        name = (request.url.hostname or "").strip("[]")
        if self._is_loopback and is_loopback(name) and request.method in SAFE_METHODS:
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"{self._settings.url}{target}", 307)
        return answer(request, NotFound(f"This studio answers at {self._settings.url} alone."))


def body_bytes_max(path: str) -> int:
    """Return how long a request's body may be at an address."""
    return UPLOAD_BYTES_MAX.get(path, BODY_BYTES_MAX)


def is_foreign(headers: Headers, method: str, own_url: str) -> bool:
    """Whether a browser says that another site made this request.

    Browsers state where a request comes from in Sec-Fetch-Site, older ones in Origin for all that
    writes. Following a link from elsewhere is fine; a request with neither header is no browser's.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return not (method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate")
    origin = headers.get("origin")
    return origin is not None and origin != own_url and method not in SAFE_METHODS


class LoopbackOnly:
    """Answer nobody who is not on this machine, whatever stands in front of the studio."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name  # of what answers, as a sentence begins with it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = scope.get("client")
            if client is None or not is_loopback(client[0]):
                refusal = NotAllowed(f"{self._name} answers on its own machine alone.")
                await answer(Request(scope, receive), refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class ResponseHeaders:
    """Put the same safety headers on every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._fixed = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        }
        if settings.is_https:
            self._fixed["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_page = f"/{scope['path'].split('/')[1]}" in PAGES

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._fixed)
                headers.setdefault("Content-Security-Policy", CSP_PAGES if is_page else CSP_PLAIN)
            await send(message)

        await self._app(scope, receive, with_headers)


def _limited(receive: Receive, most: int) -> Receive:
    """Count the bytes of a body that did not state its length; raises `TooLarge`."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise TooLarge(f"A request may have {most:,} bytes.")
        return message

    return counted
