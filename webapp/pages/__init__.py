"""The plain pages: sign-in, agreements, errors. Server-rendered; they work without a script."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse


def page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Render `webapp/pages/<template>`; nothing of it may be cached, it speaks to one person."""
    html = _environment().get_template(template).render(status=status, **values)
    return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
