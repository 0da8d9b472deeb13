"""The SCIM service as an application of its own: who calls, discovery, and errors as SCIM has them.

A bearer token names the organisation; it is looked up on every request, with its scopes and the
organisation's plan. A cookie opens nothing here. Mounted by `webapp.app` at /scim/v2.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from scim2_models import (
    Context,
    EnterpriseUser,
    Error,
    Group,
    InvalidSyntaxException,
    ListResponse,
    NotFoundException,
    Resource,
    ResourceType,
    Schema,
    SCIMException,
    ScimPolicy,
    ServiceProviderConfig,
    User,
)
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from licensing import directories, tiers
from licensing.actors import Directory
from licensing.errors import AtelierError, NotAllowed
from licensing.provisioning import NameTaken
from webapp.studio import Studio

PATH = "/scim/v2"
MEDIA_TYPE = "application/scim+json"
PAGE_MAX = 200  # resources in one answer; Entra asks for 100 or fewer, Okta for 100 or 200
TOKEN_CHARACTERS_MAX = 200  # a token has 52

ScimUser = User[EnterpriseUser]
SCHEMAS: tuple[type[Any], ...] = (User, EnterpriseUser, Group)
# What Entra and Okta do that the RFCs do not have: attributes of their own, a value beside
# `remove`, and a path whose filter matches nothing yet.
POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)

log = logging.getLogger("atelier.scim")


class TokenRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """No token came with the request, or one that does not hold."""

    code = "token_refused"
    status = 401


@dataclass(frozen=True)
class Caller:
    """Whose directory calls, with which rights."""

    actor: Directory
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise `NotAllowed` unless the token has `scope`; writing includes reading."""
        resource = scope.partition(":")[0]
        if not self.scopes & {scope, f"{resource}:write"}:
            raise NotAllowed(f"This token has no scope {scope}.")


def reader(studio: Studio) -> Callable[[Request], Caller]:
    """Return the dependency that says who calls. Raises `TokenRefused`, `TierRequired`."""

    def caller(request: Request) -> Caller:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip()
        is_ours = scheme.lower() == "bearer" and token.startswith(directories.BEGINNING)
        if not is_ours or len(token) > TOKEN_CHARACTERS_MAX:
            raise TokenRefused("Send the directory's token as `Authorization: Bearer atl_scim_…`.")
        with studio.database.transaction() as session:
            found = directories.find_live(session, token)
            if found is None:
                raise TokenRefused("This token is unknown, revoked or run out.")
            tiers.require(session, found.organisation_id, "scim")
            directories.touch(session, found)
        actor = Directory(found.organisation_id, f"SCIM ({found.label})")
        return Caller(actor, frozenset(found.scopes))

    return caller


async def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent. Raises `InvalidSyntaxException`."""
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidSyntaxException(detail="The body is not JSON.") from error
    if not isinstance(content, dict):
        raise InvalidSyntaxException(detail="The body must be a JSON object.")
    return content


def install_errors(app: FastAPI) -> None:
    """Make `app` answer every expected error as a SCIM error."""
    kinds = (
        AtelierError,
        SCIMException,
        ValidationError,
        RequestValidationError,
        HTTPException,
        OperationalError,
        DataError,
    )
    for kind in kinds:
        app.add_exception_handler(kind, _answer)


def reply(
    resource: "Resource[Any] | ListResponse[Any]",
    context: Context,
    *,
    status: int = 200,
    **dump: Any,
) -> Response:
    """Answer with a resource; its version also stands in the ETag."""
    headers = {"Cache-Control": "no-store"}
    meta = getattr(resource, "meta", None)
    if meta is not None and meta.version:
        headers["ETag"] = meta.version
    if status == 201 and meta is not None:  # noqa: PLR2004 - Created
        headers["Location"] = str(meta.location)
    content = resource.model_dump_json(scim_ctx=context, **dump)
    return Response(content, status, headers, media_type=MEDIA_TYPE)


def add_discovery(app: FastAPI, studio: Studio) -> None:
    """Add what a directory asks to learn what we can; it needs a token too."""
    who, url = reader(studio), f"{studio.settings.url}{PATH}"
    config = describe_service(url)
    schemas = {str(model.__schema__): model.to_schema() for model in SCHEMAS}
    types = {
        str(kind.name): kind
        for kind in (ResourceType.from_resource(ScimUser), ResourceType.from_resource(Group))
    }

    @app.get("/ServiceProviderConfig")
    def service(request: Request) -> Response:
        who(request)
        return reply(config, Context.RESOURCE_QUERY_RESPONSE)

    @app.get("/Schemas")
    def all_schemas(request: Request) -> Response:
        who(request)
        return reply(_all(Schema, schemas.values()), Context.RESOURCE_QUERY_RESPONSE)

    @app.get("/Schemas/{name}")
    def one_schema(request: Request, name: str) -> Response:
        who(request)
        return reply(_one(schemas, name), Context.RESOURCE_QUERY_RESPONSE)

    @app.get("/ResourceTypes")
    def all_types(request: Request) -> Response:
        who(request)
        return reply(_all(ResourceType, types.values()), Context.RESOURCE_QUERY_RESPONSE)

    @app.get("/ResourceTypes/{name}")
    def one_type(request: Request, name: str) -> Response:
        who(request)
        return reply(_one(types, name), Context.RESOURCE_QUERY_RESPONSE)


def describe_service(url: str) -> ServiceProviderConfig:
    """Return what /ServiceProviderConfig says."""
    return ServiceProviderConfig.model_validate(
        {
            "patch": {"supported": True},
            "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": PAGE_MAX},
            "changePassword": {"supported": False},
            "sort": {"supported": False},
            "etag": {"supported": True},
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "Bearer token",
                    "description": "A token that an owner of the organisation made.",
                    "primary": True,
                }
            ],
            "meta": {
                "resourceType": "ServiceProviderConfig",
                "location": f"{url}/ServiceProviderConfig",
            },
        }
    )


def _all(kind: type[Any], resources: Any) -> "ListResponse[Any]":
    found = list(resources)
    answer: ListResponse[Any] = ListResponse[kind](  # type: ignore[valid-type]
        total_results=len(found), start_index=1, items_per_page=len(found), resources=found
    )
    return answer


def _one(known: dict[str, Any], name: str) -> Any:
    if name not in known:
        raise NotFoundException(detail="There is no such resource.")
    return known[name]


def _answer(_: Request, error: Exception) -> Response:
    said = _describe(error)
    headers = {"Cache-Control": "no-store"}
    if said.status == 401:  # noqa: PLR2004 - Unauthorized
        headers["WWW-Authenticate"] = 'Bearer realm="scim"'
    content = said.model_dump_json()
    return Response(content, int(said.status or 500), headers, media_type=MEDIA_TYPE)


def _describe(error: Exception) -> Error:
    if isinstance(error, SCIMException):
        return error.to_error()
    if isinstance(error, ValidationError):
        return Error.from_validation_error(error.errors()[0])
    if isinstance(error, AtelierError):
        status = 400 if error.status == 422 else error.status  # noqa: PLR2004 - SCIM has no 422
        kind = "invalidValue" if status == 400 else None  # noqa: PLR2004 - Bad Request
        kind = "uniqueness" if isinstance(error, NameTaken) else kind
        return Error(status=status, scim_type=kind, detail=error.message)
    if isinstance(error, OperationalError):
        log.warning("the database does not answer: %s", error)
        return Error(status=503, detail="The database does not answer. Try again.")
    if isinstance(error, HTTPException):
        return Error(status=error.status_code, detail="There is nothing here for such a request.")
    return Error(status=400, scim_type="invalidValue", detail="A value has the wrong form.")
