"""What the web process and the command read from the environment, once, at the start.

A wrong value raises `SettingsProblem` with one sentence that says what to set. Without a
configured provider the studio signs people in through its own demo provider, which answers on
loopback only; a studio on any other address must name a real one.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from webapp.mail import MailServer, Security
from webapp.payment_settings import (
    PaymentSettings,
    PaymentSettingsProblem,
    read_payment_settings,
)

PORT_DEFAULT = 7860
SESSION_HOURS_DEFAULT = 12  # one working day, then the provider is asked again
SESSION_HOURS_MAX = 24 * 30
PROVIDERS_MAX = 9  # one button each on the sign-in page
SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}
SCOPES_DEFAULT = "openid email profile"
# The demo accounts belong to this issuer on every port, so that another port finds the same people.
DEMO_ISSUER = "http://127.0.0.1/demo-provider"
DEMO_PATH = "/demo-provider"
DEMO_CLIENT_ID = "atelier"

_REPOSITORY = Path(__file__).resolve().parent.parent


class SettingsProblem(Exception):  # noqa: N818 - one sentence for the person who starts the studio
    """A setting is missing or wrong; the message says which one and what to write there."""


@dataclass(frozen=True)
class Provider:
    """One OpenID Connect provider; `key` stands in its URLs (/callback/<key>)."""

    key: str
    label: str
    issuer: str
    metadata_url: str
    client_id: str
    client_secret: str | None
    scopes: str
    is_demo: bool = False


@dataclass(frozen=True)
class Settings:
    """The studio as its operator configured it. `url` is the one address people type."""

    host: str
    port: int
    url: str
    state: Path
    weights: Path
    database_url: str | None
    broker_url: str | None
    providers: tuple[Provider, ...]
    session_hours: int
    organisation_name: str
    owner_email: str | None
    mail: MailServer | None
    dns_servers: tuple[tuple[str, int], ...]
    payments: PaymentSettings | None  # None: no payments
    safety_contact: str | None  # an address for reports, shown on the take-down form
    hotline: str | None  # whom reviewers report to, as they should read it

    @property
    def is_https(self) -> bool:
        return self.url.startswith("https://")

    @property
    def has_demo_provider(self) -> bool:
        return any(provider.is_demo for provider in self.providers)

    def provider(self, key: str) -> Provider | None:
        return next((provider for provider in self.providers if provider.key == key), None)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read ATELIER_*, OIDC_*, DATABASE_URL and BROKER_URL; raises `SettingsProblem`."""
    host = environ.get("ATELIER_HOST") or "127.0.0.1"
    port = _integer(environ, "ATELIER_PORT", PORT_DEFAULT, 1, 65_535)
    url = _public_url(environ.get("ATELIER_URL"), host, port)
    providers = _providers(environ) or (_demo_provider(host, url),)
    return Settings(
        host=host,
        port=port,
        url=url,
        state=Path(environ.get("ATELIER_STATE") or ".atelier").expanduser().absolute(),
        weights=Path(environ.get("ATELIER_WEIGHTS") or _REPOSITORY / "weights").absolute(),
        database_url=_database_url(environ.get("DATABASE_URL")),
        broker_url=environ.get("BROKER_URL") or None,
        providers=providers,
        session_hours=_integer(
            environ, "SESSION_HOURS", SESSION_HOURS_DEFAULT, 1, SESSION_HOURS_MAX
        ),
        organisation_name=environ.get("ATELIER_ORGANISATION") or "Atelier",
        owner_email=environ.get("ATELIER_OWNER_EMAIL") or None,
        mail=_mail(environ),
        dns_servers=_dns_servers(environ),
        payments=_payments(environ, host, url, providers),
        safety_contact=environ.get("ATELIER_SAFETY_CONTACT") or None,
        hotline=environ.get("ATELIER_HOTLINE") or None,
    )


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, no port) can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _providers(environ: Mapping[str, str]) -> tuple[Provider, ...]:
    found = []
    for number in range(1, PROVIDERS_MAX + 1):
        prefix = "OIDC_" if number == 1 else f"OIDC_{number}_"
        issuer = environ.get(f"{prefix}ISSUER")
        if not issuer:
            continue
        parts = urlsplit(issuer)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise SettingsProblem(f"{prefix}ISSUER must begin with https:// (it is {issuer}).")
        client_id = environ.get(f"{prefix}CLIENT_ID")
        if not client_id:
            raise SettingsProblem(
                f"{prefix}ISSUER is set, {prefix}CLIENT_ID is not: "
                "write there the client id that your provider gave you."
            )
        scopes = environ.get(f"{prefix}SCOPES") or SCOPES_DEFAULT
        if "openid" not in scopes.split():
            raise SettingsProblem(f"{prefix}SCOPES must contain openid (it is {scopes}).")
        found.append(
            Provider(
                key="oidc" if number == 1 else f"oidc-{number}",
                label=environ.get(f"{prefix}NAME") or parts.hostname or issuer,
                issuer=issuer,
                metadata_url=issuer.rstrip("/") + "/.well-known/openid-configuration",
                client_id=client_id,
                client_secret=environ.get(f"{prefix}CLIENT_SECRET") or None,
                scopes=scopes,
            )
        )
    return tuple(found)


def _demo_provider(host: str, url: str) -> Provider:
    if not (is_loopback(host) and is_loopback(urlsplit(url).hostname or "")):
        raise SettingsProblem(
            "No sign-in provider is configured, and the demo provider answers on this machine "
            "alone: set OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, or leave ATELIER_HOST "
            "and ATELIER_URL on 127.0.0.1."
        )
    return Provider(
        key="demo",
        label="the demo provider",
        issuer=DEMO_ISSUER,
        metadata_url=f"{url}{DEMO_PATH}/.well-known/openid-configuration",
        client_id=DEMO_CLIENT_ID,
        client_secret=None,
        scopes="openid email profile offline_access",
        is_demo=True,
    )


def _payments(
    environ: Mapping[str, str], host: str, url: str, providers: tuple[Provider, ...]
) -> PaymentSettings | None:
    here = is_loopback(host) and is_loopback(urlsplit(url).hostname or "")
    is_demo = any(provider.is_demo for provider in providers)
    try:
        return read_payment_settings(environ, url, is_demo=is_demo, is_loopback=here)
    except PaymentSettingsProblem as problem:
        raise SettingsProblem(str(problem)) from problem


def _public_url(given: str | None, host: str, port: int) -> str:
    if given is None:
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            raise SettingsProblem(
                f"ATELIER_HOST={host} answers on every address: set ATELIER_URL to the one that "
                "people will type, for example https://atelier.example.org."
            )
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise SettingsProblem(
            "ATELIER_URL must look like https://atelier.example.org, without a path "
            f"(it is {given})."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _database_url(given: str | None) -> str | None:
    if not given:
        return None
    if not given.startswith(("postgresql://", "postgres://")):
        raise SettingsProblem(
            "DATABASE_URL must begin with postgresql:// (PostgreSQL 15 or newer)."
        )
    return given.replace("postgres://", "postgresql://", 1)


def _mail(environ: Mapping[str, str]) -> MailServer | None:
    host = environ.get("SMTP_HOST")
    if not host:
        return None
    security = environ.get("SMTP_SECURITY") or "starttls"
    if security not in SMTP_PORTS:
        raise SettingsProblem(f"SMTP_SECURITY is one of {', '.join(SMTP_PORTS)} (not {security}).")
    sender = environ.get("SMTP_FROM") or ""
    if "@" not in parseaddr(sender)[1]:
        raise SettingsProblem(
            "SMTP_HOST is set: write into SMTP_FROM the address that mail comes from, like "
            "Atelier <atelier@example.org>."
        )
    user = environ.get("SMTP_USER") or None
    if user is not None and security == "none" and not is_loopback(host):
        raise SettingsProblem(
            "SMTP_SECURITY=none would send SMTP_PASSWORD in the clear: use starttls or tls."
        )
    return MailServer(
        host=host,
        port=_integer(environ, "SMTP_PORT", SMTP_PORTS[security], 1, 65_535),
        security=cast("Security", security),
        user=user,
        password=environ.get("SMTP_PASSWORD") or None,
        sender=sender,
    )


def _dns_servers(environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Read addresses with commas between them, each with or without `:port`."""
    servers = []
    for given in filter(None, (environ.get("ATELIER_DNS_SERVERS") or "").split(",")):
        parts = urlsplit(f"//{given.strip()}")
        try:
            servers.append((str(ipaddress.ip_address(parts.hostname or "")), parts.port or 53))
        except ValueError as error:
            raise SettingsProblem(
                "ATELIER_DNS_SERVERS must hold IP addresses with commas between them, like "
                f"192.0.2.1 or [2001:db8::1]:5353 (not {given.strip()})."
            ) from error
    return tuple(servers)


def _integer(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    given = environ.get(name)
    if not given:
        return default
    try:
        value = int(given)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise SettingsProblem(f"{name} must be a whole number from {least} to {most}.")
    return value
