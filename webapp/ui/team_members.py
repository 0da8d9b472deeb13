"""People on the team page: the sheets and the verbs on members and on invites.

Each handler asks who is there, calls one use-case of `webapp.account` or `webapp.joining` and draws
the page anew. What a verb will do is said beside its button in the member's sheet, before it is
done.
"""

import uuid
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from starlette.responses import HTMLResponse

from licensing import invites, seats, standing, teams
from licensing.errors import Conflict, NotFound
from licensing.invites import EMAIL_CHARACTERS_MAX, INVITE_LIFETIME
from licensing.seats import Member, Page, Role, Status
from licensing.standing import Reason
from webapp import account, joining
from webapp.joining import Invitation
from webapp.studio import Studio
from webapp.ui import desk, people, team_view
from webapp.ui.people import ROLES
from webapp.ui.team_view import View

SEARCH_CHARACTERS_MAX = EMAIL_CHARACTERS_MAX  # nobody's name or address is longer

VERBS = {
    "suspend": (account.suspend, "{name} is suspended and signed out everywhere."),
    "resume": (account.resume, "{name} can sign in again."),
    "remove": (account.remove, "{name} is no longer in the team."),
    "assign-seat": (account.assign_seat, "{name} has a seat and can generate."),
    "revoke-seat": (account.revoke_seat, "{name} has no seat now; it is free for somebody else."),
}

# What keeps somebody from generating is said to themselves; an admin reads these in their place.
ABOUT_OTHERS = {
    "no_seat": "There is no seat for them.",
    "agreement_required": "They have not accepted the agreements; their next visit asks for it.",
}

Search = Annotated[str, Query(max_length=SEARCH_CHARACTERS_MAX)]
# Gradio reads `page` in the address of its own pages.
Part = Annotated[int, Query(ge=1, le=10_000)]


def routes(studio: Studio) -> APIRouter:
    """Return the routes on members and invites; each authorises itself."""
    router = APIRouter(default_response_class=HTMLResponse)
    Admin = Annotated[Member, Depends(desk.reader(studio, Page.TEAM))]  # noqa: N806 - a type

    @router.get("/invite")
    def invite_sheet(actor: Admin) -> HTMLResponse:
        return _invite_sheet(studio, actor)

    @router.get("/members/{member_id}")
    def member_sheet(actor: Admin, member_id: str) -> HTMLResponse:
        return _member_sheet(studio, actor, member_id)

    @router.post("/invites")
    def invite(
        actor: Admin,
        email: Annotated[str, Form()] = "",
        role: Annotated[str, Form()] = Role.CREATOR,
        seated: Annotated[bool, Form()] = False,  # noqa: FBT002 - a check box of a form
    ) -> HTMLResponse:
        return _invite(studio, actor, email, role, is_seated=seated)

    @router.get("/invites/{invite_id}")
    def invite_back_sheet(actor: Admin, invite_id: str) -> HTMLResponse:
        return _invite_back_sheet(studio, actor, invite_id)

    @router.post("/invites/{invite_id}/revoke")
    def revoke_invite(actor: Admin, invite_id: str, q: Search = "", part: Part = 1) -> HTMLResponse:
        joining.revoke_invite(studio, actor, _id(invite_id))
        return team_view.draw(
            studio, actor, View.PEOPLE, q, part, news="The invite is taken back; its link is dead."
        )

    @router.post("/invites/{invite_id}/renew")
    def renew_invite(actor: Admin, invite_id: str) -> HTMLResponse:
        made = joining.renew_invite(studio, actor, _id(invite_id))
        return _tell(studio, actor, made, "invited again; the old link is dead")

    @router.post("/members/{member_id}/role")
    def change_role(
        actor: Admin,
        member_id: str,
        role: Annotated[str, Form()],
        q: Search = "",
        part: Part = 1,
    ) -> HTMLResponse:
        _require_other(actor, _id(member_id))
        member = account.change_role(studio, actor, _id(member_id), _role(role))
        words = f"{member.name} is {people.role_name(member.role).lower()} from now on."
        return team_view.draw(studio, actor, View.PEOPLE, q, part, news=words)

    @router.post("/members/{member_id}/{verb}")
    def act(
        actor: Admin, member_id: str, verb: str, q: Search = "", part: Part = 1
    ) -> HTMLResponse:
        if verb not in VERBS:
            raise NotFound("There is no such action.")
        carry_out, words = VERBS[verb]
        member = carry_out(studio, actor, _id(member_id))
        return team_view.draw(
            studio, actor, View.PEOPLE, q, part, news=words.format(name=member.name)
        )

    return router


def _invite_sheet(studio: Studio, actor: Member) -> HTMLResponse:
    with studio.database.read() as session:
        usage = seats.seat_usage(session, actor.organisation_id)
    return desk.fragment(
        "team_invite.html", seats=usage, roles=_roles_for(actor), link_days=INVITE_LIFETIME.days
    )


def _invite(
    studio: Studio, actor: Member, email: str, role: str, *, is_seated: bool
) -> HTMLResponse:
    made = joining.invite(studio, actor, email=email, role=_role(role), seated=is_seated)
    return _tell(studio, actor, made, "invited")


def _tell(studio: Studio, actor: Member, made: Invitation, done: str) -> HTMLResponse:
    """Draw the page with what became of an invite: mailed, or its link, shown this once."""
    told = f"{made.invite.email} is {done}" + ("." if made.link else ", and the link is mailed.")
    news = f"{told} {made.problem}" if made.problem else told
    return team_view.draw(studio, actor, View.PEOPLE, news=news, link=made.link or "")


def _invite_back_sheet(studio: Studio, actor: Member, invite_id: str) -> HTMLResponse:
    with studio.database.read() as session:
        pending = invites.invites(session, actor.organisation_id)
    found = next((one for one in pending if str(one.id) == invite_id), None)
    if found is None:
        raise NotFound("This invite was used, taken back, or has run out. The list is up to date.")
    return desk.fragment("team_invite_back.html", invite=found)


def _member_sheet(studio: Studio, actor: Member, member_id: str) -> HTMLResponse:
    with studio.database.read() as session:
        member = seats.get_member(session, _id(member_id))
        usage = seats.seat_usage(session, actor.organisation_id)
        if (
            member is None
            or member.organisation_id != actor.organisation_id
            or member.status == Status.REMOVED
        ):
            raise NotFound("This person is not in your team any more. The list is up to date now.")
        reasons = standing.why_not(session, member)
        own_teams = teams.teams_of(session, member.id)
    return desk.fragment(
        "team_member.html",
        member=member,
        is_self=member.id == actor.id,
        is_closed=member.role == Role.OWNER and actor.role != Role.OWNER,
        seats=usage,
        reasons=reasons if member.id == actor.id else [_about(reason) for reason in reasons],
        own_teams=own_teams,
        roles=_roles_for(actor),
        role_name=people.role_name,
        initials=people.initials,
    )


def _about(reason: Reason) -> Reason:
    """Say to an admin what is said to the member; what only they can do leads the admin nowhere."""
    sentence = ABOUT_OTHERS.get(reason.code, reason.sentence)
    href = None if reason.who_can_fix == "you" else reason.href
    return replace(reason, sentence=sentence, href=href)


def _roles_for(actor: Member) -> dict[Role, people.RoleWords]:
    """The roles that `actor` may give: only an owner makes owners."""
    return {r: words for r, words in ROLES.items() if r != Role.OWNER or actor.role == Role.OWNER}


def _require_other(actor: Member, member_id: uuid.UUID) -> None:
    if actor.id == member_id:
        raise Conflict("You cannot change your own role. Ask another owner or admin.")


def _role(words: str) -> Role:
    try:
        return Role(words)
    except ValueError as error:
        raise NotFound("There is no such role.") from error


def _id(words: str) -> uuid.UUID:
    try:
        return uuid.UUID(words)
    except ValueError as error:
        raise NotFound("There is nothing at this address.") from error
