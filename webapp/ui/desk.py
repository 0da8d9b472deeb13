"""What the team, finance and review pages share: an empty desk, and who may sit down at it.

Their body is no Gradio component. The mount shows a skeleton at once; `static/desk.js` asks a
plain route below the page's own path for the body as HTML (Jinja, escaped) and sends every form
there. A link with filters is a link, an error is a sentence in its place, and what the page can do
is tested over HTTP. Every route here authorises itself through `reader`, whatever stands before it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse

from licensing.errors import NotAllowed
from licensing.money import format_usd
from licensing.seats import Member, Page, may
from webapp import identity, pages
from webapp.studio import Studio
from webapp.ui import shell

SKELETON_LINES = 6  # about what fits on the first screen


def mount(
    app: FastAPI,
    studio: Studio,
    page: Page,
    router: APIRouter,
    *,
    title: str,
    scripts: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
) -> None:
    """Put a desk at its path. Its routes come first: the mount would answer for all below it.

    `scripts` and `styles` are the page's own, beside those of every desk.
    """
    app.include_router(router)
    with shell.page(studio, title=title, active=page) as demo:
        gr.HTML(skeleton(page, title, styles), apply_default_css=False, elem_id="desk")
    shell.mount(app, studio, demo, page=page, scripts=("desk.js", *scripts))


def skeleton(page: Page, title: str, styles: tuple[str, ...] = ()) -> str:
    """Return what is there before the body: the title, grey lines, and a sheet for dialogs."""
    line = '<span class="skeleton-line"></span>'
    sheets = "".join(
        f'<link rel="stylesheet" href="{shell.asset(name)}">' for name in ("desk.css", *styles)
    )
    return (
        f'<div class="atelier">{sheets}'
        f'<div class="page desk" id="content" tabindex="-1" data-view="/{page}/view" '
        f'data-title="{escape(title)}" aria-busy="true">'
        f'<div class="page-head"><h1>{escape(title)}</h1></div>'
        '<div class="desk-grid" role="status"><span class="visually-hidden">Loading</span>'
        f'<div class="skeleton main">{line * SKELETON_LINES}</div>'
        f'<div class="skeleton top">{line}</div></div>'
        '</div><dialog class="sheet" aria-labelledby="sheet-title"></dialog></div>'
    )


def reader(studio: Studio, page: Page) -> Callable[[Request], Member]:
    """Return the dependency of a desk's routes: the member, if their role opens `page`.

    It raises `SignedOut` or `NotAllowed`.
    """

    def member(request: Request) -> Member:
        found = identity.require_member(studio, request)
        if not may(found.role, page):
            raise NotAllowed(f"The {page} page is not part of your role ({found.role}).")
        return found

    return member


def fragment(template: str, **values: Any) -> HTMLResponse:
    """Render a part of a desk; the words for money and time are at hand in every template."""
    return pages.page(template, usd=format_usd, day=day, moment=moment, **values)


def moment(at: datetime) -> str:
    """Write a time as people read it, in UTC: `22 Nov 2026, 20:50 UTC`."""
    return f"{day(at)}, {at.astimezone(UTC):%H:%M} UTC"


def day(at: datetime) -> str:
    """Write a day as people read it, in UTC: `22 Nov 2026`."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"
