"""The banner about the operator's yearly statement, for those who can make it, on every page.

A month ahead it says until when the statement holds; where it ran out, was taken back or was never
made, that models wait. A studio that runs none of these models is not asked. Nobody else sees it:
creators read why a model makes no pictures beside that model. Called by `webapp.ui.shell`.
"""

from html import escape

from sqlalchemy.orm import Session

from inference import models, presence
from licensing import licence
from licensing.licence_terms import is_free
from licensing.seats import Member
from webapp.studio import Studio


def banner(studio: Studio, session: Session, member: Member) -> str:
    """Return the banner as HTML for this person; nothing where there is nothing to do."""
    if not licence.may_attest(session, member):
        return ""
    state = licence.standing(session)
    if state.is_valid:
        words = _due_soon(state)
    elif state.latest is not None or _is_wanted(studio, session):
        words = f"{state.sentence} Until it is made, the models under it make no pictures."
    else:
        words = ""
    if not words:
        return ""
    return (
        f'<div class="notice care" role="status"><p>{escape(words)} '
        '<a href="/licence">Read and make the statement</a></p></div>'
    )


def _due_soon(state: licence.Standing) -> str:
    latest = state.latest
    if latest is None or not state.is_due_soon or latest.kind == "demonstration":
        return ""
    return (
        f"The yearly statement about the {state.terms.name} holds until "
        f"{latest.valid_until:%d %B %Y}. After that its models make no pictures until it is made "
        "again."
    )


def _is_wanted(studio: Studio, session: Session) -> bool:
    """Whether some model is here that could run but for the statement."""
    return any(
        presence.problem(session, model, studio.settings.weights) is None
        for model in models.CATALOGUE
        if not is_free(model.id)
    )
