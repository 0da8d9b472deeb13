"""Who calls the API: the member behind `Authorization: Bearer atl_…`, looked up on every request.

A cookie opens nothing here, so no other site can act through a signed-in browser; and a key opens
no page.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from licensing import api_keys, api_pace
from licensing.api_keys import ApiKey
from licensing.errors import AtelierError
from licensing.seats import Member
from webapp.studio import Studio

HEADER_CHARACTERS_MAX = 200  # a key has 47


class KeyRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """No key came with the request, or one that does not hold."""

    code = "key_refused"
    status = 401


@dataclass(frozen=True)
class Caller:
    """A live key and its active member, as they stood when the request was looked at."""

    member: Member
    key: ApiKey


def reader(studio: Studio) -> Any:
    """Return the dependency that says who calls; it raises `KeyRefused` and `TooManyRequests`."""

    def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.startswith(api_keys.BEGINNING):
            raise KeyRefused("Send your API key as `Authorization: Bearer atl_…`.")
        if len(token) > HEADER_CHARACTERS_MAX:
            raise KeyRefused("This is no API key.")
        with studio.database.read() as session:
            found = api_keys.find_live(session, token.strip())
        if found is None:
            raise KeyRefused(
                "This API key is unknown, revoked or run out, or its member is suspended."
            )
        key, member = found
        with studio.database.transaction() as session:
            api_pace.count(session, key.id)
        if api_keys.is_due(key):
            with studio.database.transaction() as session:
                api_keys.touch(session, key.id)
        return Caller(member=member, key=key)

    return caller
