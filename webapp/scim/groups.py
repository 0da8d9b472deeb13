"""/Groups: an organisation's teams as its directory sees them. DELETE archives the team."""

import uuid
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from scim2_models import Context, Group, GroupMember, InvalidValueException, Meta, PatchOp
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from licensing import actors, teams
from licensing.actors import Directory
from licensing.team_tables import Team
from webapp.scim import dialects
from webapp.scim.resources import (
    page_of,
    read_search,
    require_version,
    resource_id,
    shown,
    version_of,
    window,
)
from webapp.scim.service import PATH, POLICY, Caller, read_body, reader, reply
from webapp.studio import Studio


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Add /Groups; each route asks who calls."""
    _add_reading(app, studio)
    _add_writing(app, studio)


def _add_reading(app: FastAPI, studio: Studio) -> None:
    By = Annotated[Caller, Depends(reader(studio))]  # noqa: N806 - a type
    url = f"{studio.settings.url}{PATH}"

    @app.get("/Groups")
    def listing(by: By, request: Request) -> Response:
        by.require("groups:read")
        asked = read_search(request, Group)
        with studio.database.read() as session:
            living = teams.teams(session, by.actor.organisation_id)
            found = [as_group(session, team, url) for team in living]
        if asked.filter is not None:
            found = [group for group in found if asked.filter.match(group)]
        start, stop = window(asked)
        return page_of(Group, found[start:stop], len(found), asked)

    @app.get("/Groups/{group_id}")
    def read(by: By, request: Request, group_id: str) -> Response:
        by.require("groups:read")
        asked = read_search(request, Group)
        with studio.database.read() as session:
            group = _find(session, by.actor, group_id, url)
        return reply(group, Context.RESOURCE_QUERY_RESPONSE, response_parameters=shown(asked))


def _add_writing(app: FastAPI, studio: Studio) -> None:
    By = Annotated[Caller, Depends(reader(studio))]  # noqa: N806 - a type
    Body = Annotated[dict[str, Any], Depends(read_body)]  # noqa: N806 - a type
    url = f"{studio.settings.url}{PATH}"

    @app.post("/Groups")
    def create(by: By, body: Body) -> Response:
        by.require("groups:write")
        group = _validated(body, Context.RESOURCE_CREATION_REQUEST)
        with studio.database.transaction() as session:
            name, external_id = group.display_name or "", group.external_id or None
            team = teams.create(session, by.actor, name=name, external_id=external_id)
            session.flush()
            teams.set_members(session, by.actor, team.id, _member_ids(group))
            made = as_group(session, team, url)
        return reply(made, Context.RESOURCE_CREATION_RESPONSE, status=201)

    @app.put("/Groups/{group_id}")
    def replace(by: By, request: Request, body: Body, group_id: str) -> Response:
        by.require("groups:write")
        group = _validated(body, Context.RESOURCE_REPLACEMENT_REQUEST)
        with studio.database.transaction() as session:
            actors.require_admin(session, by.actor)  # one change at a time reads and writes
            before = _find(session, by.actor, group_id, url)
            require_version(request, before)
            answer = _carry_out(session, by.actor, before, group, url)
        return reply(answer, Context.RESOURCE_REPLACEMENT_RESPONSE)

    @app.patch("/Groups/{group_id}")
    def patch(by: By, request: Request, body: Body, group_id: str) -> Response:
        by.require("groups:write")
        wanted = PatchOp[Group].model_validate(
            dialects.tidy(body), scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY
        )
        with studio.database.transaction() as session:
            actors.require_admin(session, by.actor)  # one change at a time reads and writes
            before = _find(session, by.actor, group_id, url)
            require_version(request, before)
            after = before.model_copy(deep=True)
            answer = before
            if wanted.patch(after, scim_policy=POLICY):
                answer = _carry_out(session, by.actor, before, after, url)
        return reply(answer, Context.RESOURCE_PATCH_RESPONSE)

    @app.delete("/Groups/{group_id}")
    def delete(by: By, group_id: str) -> Response:
        by.require("groups:write")
        with studio.database.transaction() as session:
            teams.archive(session, by.actor, resource_id(group_id))
        return Response(status_code=204)


def as_group(session: Session, team: Team, url: str) -> Group:
    """Describe a team as SCIM does."""
    group = Group(
        id=str(team.id),
        external_id=team.external_id,
        display_name=team.name,
        members=[
            GroupMember.model_validate(
                {
                    "value": str(member.id),
                    "display": member.name,
                    "type": "User",
                    "$ref": f"{url}/Users/{member.id}",
                }
            )
            for member in teams.members_of(session, team.id)
        ]
        or None,
    )
    group.meta = Meta(
        resource_type="Group",
        created=team.created_at,
        location=f"{url}/Groups/{team.id}",
        version=version_of(group),
    )
    return group


def _find(session: Session, actor: Directory, group_id: str, url: str) -> Group:
    team = teams.get(session, actor.organisation_id, resource_id(group_id))
    return as_group(session, team, url)


def _carry_out(session: Session, actor: Directory, before: Group, after: Group, url: str) -> Group:
    team_id = uuid.UUID(before.id)
    if after.display_name != before.display_name:
        teams.rename(session, actor, team_id, name=after.display_name or "")
    if after.external_id != before.external_id:
        teams.set_external_id(session, actor, team_id, after.external_id or None)
    if _member_ids(after) != _member_ids(before):
        teams.set_members(session, actor, team_id, _member_ids(after))
    session.flush()
    return as_group(session, teams.get(session, actor.organisation_id, team_id), url)


def _member_ids(group: Group) -> set[uuid.UUID]:
    try:
        return {uuid.UUID(str(member.value)) for member in group.members or []}
    except ValueError as error:
        raise InvalidValueException(detail="A member is named by the id of a user here.") from error


def _validated(body: dict[str, Any], context: Context) -> Group:
    return Group.model_validate(dialects.tidy_resource(body), scim_ctx=context, scim_policy=POLICY)
