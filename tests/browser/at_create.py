"""What a browser test does at the creator page: opens it, plays a worker, reads the newest job."""

from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Page
from running import Running
from sqlalchemy import select, text

from inference import presence
from inference.generations import Generation
from licensing import adapters
from licensing.adapters import Brought


def worker_is_there(studio: Running, *, is_there: bool) -> None:
    """Make the page believe in a worker for an hour, or in none."""
    with studio.database.transaction() as session:
        said = presence.Report("played", "cpu", "ready", models={"pocket-turbo": None})
        presence.report(session, said)
        later = "clock_timestamp() + interval '1 hour'" if is_there else "now() - interval '1 hour'"
        session.execute(text(f"UPDATE worker_presence SET heartbeat_at = {later}"))


def newest(work: Work) -> Generation:
    with work.running.database.read() as session:
        own = select(Generation).where(Generation.member_id == work.member.id)
        return session.scalars(own.order_by(Generation.created_at.desc()).limit(1)).one()


def open_page(context: BrowserContext, work: Work) -> Page:
    """Open the creator page and wait until it shows what the database holds."""
    page = context.new_page()
    page.goto(f"{work.running.settings.url}/create")
    page.wait_for_selector(".feed[data-state=ready]")
    page.wait_for_selector("#price strong")
    return page


def bring_lora(work: Work, name: str, number: int, triggers: str = "") -> str:
    """Put a LoRA on the team's shelf that passed its check; returns its SHA-256."""
    sha256 = f"{number:064x}"
    brought = Brought(sha256, 4_200_000, "pocket", "peft", 12, 16)
    with work.running.database.transaction() as session:
        adapter, _ = adapters.bring(session, work.member, brought, name=name, triggers=triggers)
        claimed = adapters.claim(session, adapter.id, "played by a test")
        assert claimed is not None
        adapters.judge(
            session,
            claimed,
            action="allow",
            category=None,
            score=0.0,
            source="played",
            grid="grid-1",
        )
    return sha256


def choose_lora(page: Page, name: str) -> None:
    page.locator(".lora-add summary").click()
    page.get_by_role("checkbox", name=name, exact=True).check()
    page.keyboard.press("Escape")
