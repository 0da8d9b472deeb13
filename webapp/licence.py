"""The page of the model licence: what the operator has stated, and the form to state it again.

Every member may read how it stands; owners of the organisation that was founded first speak for the
operator. The form sends back the fingerprint of the statement that it showed, as the agreements do.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from inference import models
from licensing import licence, model_switches
from licensing.errors import AtelierError, NotAllowed
from licensing.seats import Member
from webapp import identity
from webapp.pages import page
from webapp.studio import Studio, studio_of

ATTESTATIONS_SHOWN = 10  # ten years of yearly statements
CHOICES: tuple[licence.Kind, ...] = (
    "below_threshold",
    "enterprise_licence",
)  # what a person may state

router = APIRouter()


@router.get("/licence")
def read_licence(request: Request) -> Response:
    """Show how the attestation stands and which models are switched off."""
    studio = studio_of(request)
    return _page(studio, identity.require_member(studio, request))


@router.post("/licence/attest")
def attest(
    request: Request,
    statement: Annotated[str, Form()] = "",
    given_by: Annotated[str, Form(max_length=licence.WORDS_MAX)] = "",
    reference: Annotated[str, Form(max_length=licence.WORDS_MAX)] = "",
) -> Response:
    """Store the statement that was chosen, in the words that were shown."""
    studio = studio_of(request)
    member = identity.require_member(studio, request)
    kind, _, statement_sha256 = statement.partition(":")
    try:
        with studio.database.transaction() as session:
            _require_operator(licence.may_attest(session, member))
            licence.attest(
                session,
                _kind(kind),
                given_by=given_by or member.name,
                author_id=member.id,
                statement_sha256=statement_sha256,
                reference=reference,
            )
    except AtelierError as error:
        return _page(studio, member, refusal=error)
    return RedirectResponse("/licence", 303)


@router.post("/licence/withdraw")
def withdraw(
    request: Request, reason: Annotated[str, Form(max_length=licence.WORDS_MAX)] = ""
) -> Response:
    """Take the statement back: generation with the licensed models stops at once."""
    studio = studio_of(request)
    member = identity.require_member(studio, request)
    try:
        with studio.database.transaction() as session:
            _require_operator(licence.may_attest(session, member))
            licence.withdraw(session, given_by=member.name, author_id=member.id, reason=reason)
    except AtelierError as error:
        return _page(studio, member, refusal=error)
    return RedirectResponse("/licence", 303)


def _kind(given: str) -> licence.Kind:
    for kind in CHOICES:
        if kind == given:
            return kind
    raise NotAllowed("Choose one of the statements first.")


def _require_operator(may: bool) -> None:  # noqa: FBT001 - the answer of `may_attest`
    if not may:
        raise NotAllowed("Only an owner of the organisation that runs this studio can state this.")


def _page(studio: Studio, member: Member, *, refusal: AtelierError | None = None) -> Response:
    with studio.database.read() as session:
        state = licence.standing(session)
        values: dict[str, Any] = {
            "state": state,
            "may_attest": licence.may_attest(session, member),
            "attestations": licence.attestations(session, limit=ATTESTATIONS_SHOWN),
            "revoked": [
                (models.name_of(id_), row)
                for id_, row in sorted(model_switches.revoked(session).items())
            ],
        }
    return page(
        "licence.html",
        status=200 if refusal is None else refusal.status,
        choices=CHOICES,
        refusal=None if refusal is None else refusal.message,
        name=member.name,
        home=identity.home(member),
        **values,
    )
