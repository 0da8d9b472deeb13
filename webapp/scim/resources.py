"""What users and groups have alike: how they are searched, paged, named and versioned."""

import hashlib
import uuid
from typing import Any

from scim2_models import (
    Context,
    ListResponse,
    PreconditionFailedException,
    ResponseParameters,
    SearchRequest,
)
from starlette.requests import Request
from starlette.responses import Response

from licensing.errors import NotFound
from webapp.scim.service import PAGE_MAX, POLICY, reply


def read_search(request: Request, kind: type[Any]) -> "SearchRequest[Any]":
    """Read filter, page and attributes of a query. Raises `ValidationError`."""
    given = {
        name: value
        for name, value in request.query_params.items()
        if name in {"filter", "startIndex", "count", "attributes", "excludedAttributes"}
    }
    return SearchRequest[kind].model_validate(  # type: ignore[valid-type]
        {
            **given,
            **{
                name: given[name].split(",")
                for name in ("attributes", "excludedAttributes")
                if name in given
            },
        },
        scim_policy=POLICY,
    )


def shown(asked: "SearchRequest[Any]") -> "ResponseParameters[Any]":
    """Return which attributes the answer is to have."""
    return asked


def window(asked: "SearchRequest[Any]") -> tuple[int, int]:
    """Return where the page begins and ends, from 0; a page has at most `PAGE_MAX`."""
    start = asked.start_index_0 or 0
    count = PAGE_MAX if asked.count is None else min(asked.count, PAGE_MAX)
    return start, start + count


def page_of(
    kind: type[Any], resources: list[Any], total: int, asked: "SearchRequest[Any]"
) -> Response:
    """Answer with one page of resources."""
    answer = ListResponse[kind](  # type: ignore[valid-type]
        total_results=total,
        start_index=asked.start_index or 1,
        items_per_page=len(resources),
        resources=resources,
    )
    return reply(answer, Context.RESOURCE_QUERY_RESPONSE, response_parameters=shown(asked))


def resource_id(given: str) -> uuid.UUID:
    """Read an id of an address; raises `NotFound` for what cannot be one."""
    try:
        return uuid.UUID(given)
    except ValueError as error:
        raise NotFound("There is no such resource.") from error


def version_of(resource: Any) -> str:
    """Return a weak ETag over all that the directory can see."""
    content = resource.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return f'W/"{hashlib.sha256(content.encode()).hexdigest()[:24]}"'


def require_version(request: Request, resource: Any) -> None:
    """Raise `PreconditionFailedException` where If-Match names another version."""
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    if resource.meta.version not in {each.strip() for each in wanted.split(",")}:
        raise PreconditionFailedException(detail="The resource has changed since you read it.")
