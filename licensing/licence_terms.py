"""What the model licence asks, as dated data: terms, statements, and the models that it frees."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from licensing.db import now


@dataclass(frozen=True)
class Terms:
    """What one version of a licence asks; `statements` are what the operator puts a name to."""

    licence: str
    version: str
    name: str
    url: str
    effective: datetime
    revenue_threshold_usd: int
    years_valid: int
    contact: str
    statements: Mapping[str, str]

    def statement_sha256(self, kind: str) -> str:
        """The fingerprint of what is stated, so that a changed text is asked for again."""
        return hashlib.sha256(self.statements[kind].encode()).hexdigest()


def terms(at: datetime | None = None) -> Terms:
    """The licence's terms in force at a moment (default: now)."""
    moment = at or now()
    started = [version for version in _versions() if version.effective <= moment]
    return started[-1] if started else _versions()[0]  # a clock before the first one opens nothing


def is_free(model_id: str) -> bool:
    """Whether the model's licence asks nothing of the operator."""
    return any(fnmatchcase(model_id, pattern) for pattern in _source()["free_models"])


def years_after(at: datetime, years: int) -> datetime:
    """The same day in a later year; 28 February stands in for a 29th that is not there."""
    try:
        return at.replace(year=at.year + years)
    except ValueError:
        return at.replace(year=at.year + years, day=28)


@cache
def _source() -> dict[str, Any]:
    source = resources.files("licensing").joinpath("texts/licences.toml").read_text("utf-8")
    return tomllib.loads(source)


@cache
def _versions() -> tuple[Terms, ...]:
    read = [Terms(**entry) for entry in _source()["version"]]
    return tuple(sorted(read, key=lambda version: version.effective))
