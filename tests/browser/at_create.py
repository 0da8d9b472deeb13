"""What a browser test does at the creator page: opens it, plays a worker, reads the newest job."""

from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Page
from running import Running
from sqlalchemy import select, text

from inference import presence
from inference.generations import Generation


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
