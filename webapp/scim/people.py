"""/Users: members as a directory sees them. `active: false` is a suspension, DELETE a removal.

Everything that a suspension or removal ends, ends in the transaction of the request.
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from scim2_models import (
    Context,
    EnterpriseUser,
    GroupMembership,
    InvalidValueException,
    Meta,
    PatchOp,
    ScimFilter,
    SearchRequest,
    TooManyException,
    User,
)
from scim2_models.path.expressions import CompareOperator, Comparison
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from licensing import actors, provisioning, roster, teams
from licensing.actors import Directory
from licensing.provisioning import Known, Person
from licensing.seats import Member, Role, Status
from webapp import account
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
from webapp.scim.service import PATH, POLICY, Caller, ScimUser, read_body, reader, reply
from webapp.studio import Studio

# Attributes with a column or a verb of their own; all others are kept for the directory to read.
OWNED = ("schemas", "id", "meta", "externalId", "userName", "active", "groups", "password")
FILTERED_MAX = 1_000  # users that a filter without an index is held against: about a second
ROLES = frozenset(Role) - {Role.OWNER}  # owners are made by owners, not by a directory


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Add /Users; each route asks who calls."""
    By = Annotated[Caller, Depends(reader(studio))]  # noqa: N806 - a type
    Body = Annotated[dict[str, Any], Depends(read_body)]  # noqa: N806 - a type
    url = f"{studio.settings.url}{PATH}"

    @app.get("/Users")
    def listing(by: By, request: Request) -> Response:
        by.require("users:read")
        asked = read_search(request, ScimUser)
        with studio.database.read() as session:
            return _list(session, by.actor, asked, url)

    @app.get("/Users/{user_id}")
    def read(by: By, request: Request, user_id: str) -> Response:
        by.require("users:read")
        asked = read_search(request, ScimUser)
        with studio.database.read() as session:
            known = provisioning.find(session, by.actor, resource_id(user_id))
            user = as_user(session, known, url)
        return reply(user, Context.RESOURCE_QUERY_RESPONSE, response_parameters=shown(asked))

    @app.post("/Users")
    def create(by: By, body: Body) -> Response:
        by.require("users:write")
        user = validated(body, Context.RESOURCE_CREATION_REQUEST)
        with studio.database.transaction() as session:
            member = provisioning.provision(session, by.actor, person_of(user))
            if user.active is False:
                roster.suspend(session, by.actor, member.id)
            made = as_user(session, provisioning.find(session, by.actor, member.id), url)
        return reply(made, Context.RESOURCE_CREATION_RESPONSE, status=201)

    @app.put("/Users/{user_id}")
    def replace(by: By, request: Request, body: Body, user_id: str) -> Response:
        by.require("users:write")
        user = validated(body, Context.RESOURCE_REPLACEMENT_REQUEST)
        with studio.database.transaction() as session:
            actors.require_admin(session, by.actor)  # one change at a time reads and writes
            known = provisioning.find(session, by.actor, resource_id(user_id))
            require_version(request, as_user(session, known, url))
            changed = _carry_out(session, by.actor, known.member, user)
            answer = as_user(session, changed, url)
        return reply(answer, Context.RESOURCE_REPLACEMENT_RESPONSE)

    @app.patch("/Users/{user_id}")
    def patch(by: By, request: Request, body: Body, user_id: str) -> Response:
        by.require("users:write")
        wanted = PatchOp[ScimUser].model_validate(
            dialects.tidy(body), scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY
        )
        with studio.database.transaction() as session:
            actors.require_admin(session, by.actor)
            known = provisioning.find(session, by.actor, resource_id(user_id))
            user = as_user(session, known, url)
            require_version(request, user)
            if wanted.patch(user, scim_policy=POLICY):
                known = _carry_out(session, by.actor, known.member, user)
            answer = as_user(session, known, url)
        return reply(answer, Context.RESOURCE_PATCH_RESPONSE)

    @app.delete("/Users/{user_id}")
    def delete(by: By, user_id: str) -> Response:
        by.require("users:write")
        with studio.database.transaction() as session:
            member = roster.remove(session, by.actor, resource_id(user_id))
            provisioning.forget(session, member.id)
            account.shut_out(session, member)
        return Response(status_code=204)


def as_user(session: Session, known: Known, url: str) -> User[EnterpriseUser]:
    """Describe a member as SCIM does, with a version that changes when anything here does."""
    member, row = known.member, known.row
    attributes = row.attributes if row else _attributes_of(member)
    user = ScimUser.model_validate(
        {
            **attributes,
            "id": str(member.id),
            "externalId": row.external_id if row else None,
            "userName": row.user_name if row else member.email,
            "active": member.status == Status.ACTIVE,
        },
        scim_policy=POLICY,
    )
    user.groups = [
        GroupMembership.model_validate(
            {"value": str(team.id), "display": team.name, "$ref": f"{url}/Groups/{team.id}"}
        )
        for team in teams.teams_of(session, member.id)
    ] or None
    user.meta = Meta(
        resource_type="User",
        created=member.created_at,
        last_modified=row.changed_at if row else member.created_at,
        location=f"{url}/Users/{member.id}",
        version=version_of(user),
    )
    return user


def person_of(user: User[EnterpriseUser]) -> Person:
    """Read what a directory says of somebody. Raises `InvalidValueException`."""
    emails = user.emails or []
    first = next((each for each in emails if each.primary), emails[0] if emails else None)
    email = str(first.value) if first is not None and first.value else str(user.user_name or "")
    if "@" not in email:
        raise InvalidValueException(detail="Send an e-mail address: in emails, or as userName.")
    words = user.name
    parts = (words.given_name or "", words.family_name or "") if words else ()
    full = (words.formatted if words else None) or " ".join(parts).strip()
    kept = user.model_dump(scim_ctx=Context.DEFAULT)
    return Person(
        user_name=str(user.user_name or ""),
        external_id=user.external_id or None,
        name=(user.display_name or full or user.user_name or "").strip(),
        email=email,
        role=_role_of(user),
        attributes={name: value for name, value in kept.items() if name not in OWNED},
    )


def _carry_out(
    session: Session, actor: Directory, member: Member, user: User[EnterpriseUser]
) -> Known:
    """Make a member what `user` says, with the verbs that an owner has."""
    person = person_of(user)
    provisioning.describe(session, actor, member, person)
    is_owner = member.role == Role.OWNER
    if person.role is not None and person.role != member.role and not is_owner:
        roster.change_role(session, actor, member.id, person.role)
    if user.active is False and member.status == Status.ACTIVE:
        account.shut_out(session, roster.suspend(session, actor, member.id))
    elif user.active and member.status == Status.SUSPENDED:
        roster.resume(session, actor, member.id)
    return provisioning.find(session, actor, member.id)


def _role_of(user: User[EnterpriseUser]) -> Role | None:
    """Return the first role of ours that the directory names; others are other applications'."""
    for role in user.roles or []:
        name = str(role.value or "").strip().lower()
        if name == Role.OWNER:
            raise InvalidValueException(detail="Owners are made by an owner, not by a directory.")
        if name in ROLES:
            return Role(name)
    return None


def _list(session: Session, actor: Directory, asked: "SearchRequest[Any]", url: str) -> Response:
    start, stop = window(asked)
    keys = _by_key(asked.filter)
    total = provisioning.count_people(session, actor.organisation_id)
    if asked.filter is None:
        found = provisioning.people(
            session, actor.organisation_id, offset=start, limit=stop - start
        )
        return page_of(ScimUser, [as_user(session, known, url) for known in found], total, asked)
    if not keys and total > FILTERED_MAX:
        raise TooManyException(
            detail=f"There are {total} users, and a filter of this kind is held against each: at "
            f"most {FILTERED_MAX}. Ask by `userName eq` or `externalId eq`, or page through all."
        )
    found = provisioning.people(
        session,
        actor.organisation_id,
        user_name=keys.get("user_name"),
        external_id=keys.get("external_id"),
    )
    users = [as_user(session, known, url) for known in found]
    users = [user for user in users if asked.filter.match(user)]
    return page_of(ScimUser, users[start:stop], len(users), asked)


def _by_key(wanted: "ScimFilter[Any] | None") -> dict[str, str]:
    """Let the database's index answer what directories ask most: one user name, one external id."""
    tree = wanted.ast if wanted is not None else None
    if isinstance(tree, Comparison) and tree.op == CompareOperator.eq and tree.value is not None:
        names = {"username": "user_name", "externalid": "external_id"}
        column = names.get(tree.attr_path.attr.lower())
        if column is not None and tree.attr_path.sub_attr is None:
            return {column: str(tree.value)}
    return {}


def _attributes_of(member: Member) -> dict[str, Any]:
    roles = [] if member.role == Role.OWNER else [{"value": member.role, "primary": True}]
    return {
        "displayName": member.name,
        "name": {"formatted": member.name},
        "emails": [{"value": member.email, "type": "work", "primary": True}],
        "roles": roles or None,
    }


def validated(body: dict[str, Any], context: Context) -> User[EnterpriseUser]:
    """Read a user that was sent whole."""
    return ScimUser.model_validate(
        dialects.tidy_resource(body), scim_ctx=context, scim_policy=POLICY
    )
