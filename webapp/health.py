"""Whether this web process can do its work: what load balancers and `atelier up` ask.

Anybody may ask, so the answer names no host, folder or person of the database; the log does.
"""

import logging

from alembic.script import ScriptDirectory
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import migrations
from webapp.studio import studio_of

router = APIRouter()

_log = logging.getLogger(__name__)


@router.get("/healthz")
def health(request: Request) -> Response:
    """200 when the database answers and stands at our newest migration, else 503 and why."""
    studio = studio_of(request)
    try:
        with studio.database.read() as session:
            revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError as error:
        _log.warning("Not healthy: %s", error.orig)
        return _answer(503, "database", "The database does not answer; the web log says why.")
    newest = newest_revision()
    if revision != newest:
        return _answer(503, "migrations", f"database at {revision}, code at {newest}")
    return _answer(200, "ok", f"database at {revision}")


def newest_revision() -> str | None:
    """Return the revision that the code needs the database to be at."""
    return ScriptDirectory(migrations.__path__[0]).get_current_head()


def _answer(status: int, state: str, detail: str) -> Response:
    body = {"state": state, "detail": detail}
    return JSONResponse(body, status, {"Cache-Control": "no-store"})
