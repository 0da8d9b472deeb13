"""Whether this web process can do its work, and whether every content filter judges.

Load balancers and `atelier up` ask. Without its prompt rules or the block list the process is not
healthy. A filter that a worker cannot load stops generation and nothing else, so the answer stays
200 and says so. Anybody may ask: it names no host, folder or person of the database; the log does.
"""

import logging

from alembic.script import ScriptDirectory
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import migrations
from inference import presence
from inference.safety import BLOCK_LIST, PICTURE_FILTER, PROMPT_FILTER
from licensing import block_list, prompt_rules
from webapp.studio import studio_of

READY = "ready"
PROMPT_RULES = "prompt rules"
WORKER_FILTERS = (PROMPT_FILTER, PICTURE_FILTER, BLOCK_LIST)
NO_WORKER = "No worker that has loaded it is running; it is loaded before anything is made."

router = APIRouter()

_log = logging.getLogger(__name__)


@router.get("/healthz")
def health(request: Request) -> Response:
    """200 when the database answers and stands at our newest migration, else 503 and why."""
    studio = studio_of(request)
    newest, states = newest_revision(), {}
    try:
        with studio.database.read() as session:
            revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if revision == newest:
                states = filter_states(session)
    except DatabaseError as error:
        _log.warning("Not healthy: %s", error.orig)
        return _answer(503, "database", "The database does not answer; the web log says why.")
    if revision != newest:
        return _answer(503, "migrations", f"database at {revision}, code at {newest}")
    if states[PROMPT_RULES] != READY:
        return _answer(503, "filters", states[PROMPT_RULES], states)
    return _answer(200, "ok", f"database at {revision}", states)


def filter_states(session: Session) -> dict[str, str]:
    """Each content filter by name: `ready`, or a sentence why it does not judge (yet)."""
    told = presence.filters(session)
    block_list.revision(session)  # raises as the database does: a list that cannot be read
    return {
        PROMPT_RULES: rules_problem() or READY,
        **{name: told.get(name, NO_WORKER) or READY for name in WORKER_FILTERS},
    }


def rules_problem() -> str | None:
    """Why no prompt can be judged; None if the rules are there and sound."""
    try:
        rules = prompt_rules.load()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        _log.exception("The prompt rules cannot be read")
        return "The prompt rules cannot be read, so nothing can be generated."
    return None if rules.rules else "There are no prompt rules, so nothing can be generated."


def newest_revision() -> str | None:
    """Return the revision that the code needs the database to be at."""
    return ScriptDirectory(migrations.__path__[0]).get_current_head()


def _answer(
    status: int, state: str, detail: str, filters: dict[str, str] | None = None
) -> Response:
    body: dict[str, object] = {"state": state, "detail": detail}
    if filters is not None:
        stopped = [said for said in filters.values() if said != READY]
        body |= {"generation": stopped[0] if stopped else READY, "filters": filters}
    return JSONResponse(body, status, {"Cache-Control": "no-store"})
