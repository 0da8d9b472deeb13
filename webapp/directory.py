"""What an owner does to connect the organisation's directory: provider, seat policy, tokens.

The token is shown once, by the caller. Called by the team page.
"""

import uuid

from licensing import directories
from licensing.directories import SCOPES, Directory, ScimToken
from licensing.domains import SeatPolicy
from licensing.errors import NotFound
from licensing.seats import Member
from webapp.scim.service import PATH
from webapp.studio import Studio


def address(studio: Studio) -> str:
    """Return the address that is entered at the directory (Entra calls it Tenant URL)."""
    return f"{studio.settings.url}{PATH}"


def connect(studio: Studio, actor: Member, *, provider: str, seat_policy: SeatPolicy) -> Directory:
    """Say through which sign-in provider provisioned people come, and what they get.

    `provider` is the key of a configured one. Raises `NotFound`, `NotAllowed`, `TierRequired`.
    """
    found = studio.settings.provider(provider)
    if found is None:
        raise NotFound("There is no such sign-in provider.")
    with studio.database.transaction() as session:
        return directories.configure(session, actor, issuer=found.issuer, seat_policy=seat_policy)


def create_token(
    studio: Studio, actor: Member, *, label: str, scopes: tuple[str, ...] = SCOPES
) -> tuple[ScimToken, str]:
    """Make a token; its text is in the answer and nowhere else. Raises as `directories` does."""
    with studio.database.transaction() as session:
        return directories.create_token(session, actor, label=label, scopes=scopes)


def rotate_token(studio: Studio, actor: Member, token_id: uuid.UUID) -> tuple[ScimToken, str]:
    """Make the token that follows; the old one holds for a day more. `NotFound`, `Conflict`."""
    with studio.database.transaction() as session:
        return directories.rotate(session, actor, token_id)


def revoke_token(studio: Studio, actor: Member, token_id: uuid.UUID) -> None:
    """End a token at once; raises `NotFound`."""
    with studio.database.transaction() as session:
        directories.revoke_token(session, actor, token_id)
