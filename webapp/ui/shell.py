"""What every page shares: header, stylesheet, the way a Gradio page is opened and mounted.

A page module writes `with shell.page(...) as demo:` and returns the demo; `mount` puts it behind
its role. The header is drawn for the person who looks, on each load, so that a changed role or
name shows at once. Called by webapp.app (mount) and by every page in webapp.ui.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from licensing.seats import Member, Page, may
from webapp import identity
from webapp.studio import Studio
from webapp.ui import statement
from webapp.ui.theme import build_theme

STATIC = Path(__file__).parent / "static"

# Gradio counts open events against its threads: without room, forty idle tabs would stop the page.
EVENTS_AT_ONCE = 200

MARK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M4 4h16v16H4z"/>'
    '<path d="M4 15.5 9 11l5 4.5 2.5-2 3.5 3"/>'
    '<circle cx="15.5" cy="8.5" r="1.6" fill="currentColor" stroke="none"/></svg>'
)

_NAMES = {Page.CREATE: "Create", Page.TEAM: "Team", Page.FINANCE: "Finance", Page.REVIEW: "Review"}

_THEMES = (("system", "Match the system"), ("light", "Light"), ("dark", "Dark"))


@contextmanager
def page(studio: Studio, *, title: str, active: Page) -> Iterator[gr.Blocks]:
    """Open a Gradio page with the site's header; the body of the `with` adds the content."""
    with gr.Blocks(title=f"{title} · Atelier", analytics_enabled=False, fill_width=True) as demo:
        header = gr.HTML(
            _waiting_header(),
            elem_id="site-header",
            elem_classes="atelier",
            apply_default_css=False,
        )
        banner = gr.HTML("", elem_id="site-banner", elem_classes="atelier", apply_default_css=False)
        yield demo
        demo.load(
            _top_for(studio, active),
            outputs=[header, banner],
            queue=False,
            show_progress="hidden",
        )


def mount(
    app: FastAPI,
    studio: Studio,
    demo: gr.Blocks,
    *,
    page: Page,
    scripts: tuple[str, ...] = (),
    styles: tuple[str, ...] = (),
) -> None:
    """Put a page behind its role at /<page>, with nothing of Gradio that we do not use.

    `scripts` (ES modules) and `styles` are the page's own files in the static folder. No page may
    queue events (`queue=False` everywhere): real waiting is Celery's, and an open queue stream
    costs each tab one of the browser's six connections.
    """
    demo.max_threads = EVENTS_AT_ONCE
    gr.mount_gradio_app(
        app,
        demo,
        f"/{page}",
        auth_dependency=identity.require(studio, page),
        theme=build_theme(),
        head=head(scripts, styles),
        footer_links=[],
        run_history=False,
        mcp_server=False,
        ssr_mode=False,
        show_error=False,
        max_file_size="1b",  # no page takes an upload yet
    )


def head(scripts: tuple[str, ...], styles: tuple[str, ...]) -> str:
    """Return the tags for <head>: stylesheets, the icon, appearance, and a page's own modules."""
    sheets = "".join(
        f'<link rel="stylesheet" href="{asset(name)}">'
        for name in ("atelier.css", "gradio.css", *styles)
    )
    modules = "".join(
        f'<script type="module" src="{asset(name)}"></script>' for name in ("session.js", *scripts)
    )
    return (
        f'<link rel="icon" type="image/svg+xml" href="{asset("mark.svg")}">'
        f'{sheets}<script src="{asset("theme.js")}"></script>{modules}'
    )


def asset(name: str) -> str:
    """Return the address of a static file: plain, since modules import each other by plain name."""
    return f"/static/{name}"


def header_html(member: Member, *, active: Page | None) -> str:
    """Return the header for one person: the pages their role opens, their name, sign-out."""
    links = "".join(
        f'<a href="/{name}"{" aria-current=page" if name is active else ""}>{label}</a>'
        for name, label in _NAMES.items()
        if may(member.role, name)
    )
    themes = "".join(
        f'<button type="button" data-set-theme="{value}">{label}</button>'
        for value, label in _THEMES
    )
    initials = "".join(word[0] for word in member.name.split()[:2]).upper() or "?"
    return (
        '<header class="site-header"><a class="button skip-link" href="#content">Skip to content'
        f'</a><a class="brand" href="/">{MARK}<span>Atelier</span></a>'
        f'<nav class="site-nav" aria-label="Pages">{links}</nav>'
        '<details class="site-account"><summary>'
        f'<span class="avatar" aria-hidden="true">{escape(initials)}</span>'
        '<span class="visually-hidden">Account of </span>'
        f'<span class="name">{escape(member.name)}</span></summary><div class="menu">'
        f'<p><strong>{escape(member.name)}</strong><br><span class="muted small">'
        f"{escape(member.email)} · {escape(member.role)}</span></p>"
        f'<div role="group" aria-label="Appearance">{themes}</div><hr>'
        '<a href="/loras">LoRAs</a><a href="/keys">API keys</a>'
        '<a href="/refusals">Refusals and appeals</a>'
        '<form method="post" action="/logout"><button type="submit">Sign out</button></form>'
        "</div></details></header>"
    )


def _waiting_header() -> str:
    """The same bar without a name: the page does not jump when the person is known."""
    return (
        f'<header class="site-header"><a class="brand" href="/">{MARK}<span>Atelier</span></a>'
        "</header>"
    )


def _top_for(studio: Studio, active: Page) -> Callable[[gr.Request], Any]:
    def top(request: gr.Request) -> tuple[str, str]:
        member = identity.current_member(studio, request.request)
        if member is None:
            return _waiting_header(), ""
        with studio.database.read() as session:
            told = statement.banner(studio, session, member)
        return header_html(member, active=active), told

    return top
