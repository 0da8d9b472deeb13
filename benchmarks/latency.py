"""How fast the creator page answers: click to first visible progress, event to DOM, in Chromium.

Runs a studio of its own in a temporary folder (real PostgreSQL, Valkey, web process, browser). The
worker is played by this script, one step each 100 ms, so that the figures are those of the way
between people and jobs and not those of a model. Prints medians; asserts nothing.

    python benchmarks/latency.py [samples]
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference import lifecycle, presence  # noqa: E402 - the repository is on the path from here
from inference.events import Event  # noqa: E402
from inference.generations import Generation  # noqa: E402
from licensing import agreements  # noqa: E402
from licensing.db import Database, connect, now  # noqa: E402
from licensing.seats import Member  # noqa: E402
from migrations.run import upgrade  # noqa: E402
from webapp import demo  # noqa: E402
from webapp.host.servers import start_postgres, start_valkey  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
SAMPLES = 20
WARM_UPS = 3
STEP_SECONDS = 0.1
STEPS = 8
START_SECONDS_MAX = 60
# The size of a real preview, so that the message is as long as a real one.
PREVIEW = "data:image/webp;base64," + "A" * 3000

# Notes when each thing was first drawn, by the browser's clock (the server's, on one machine).
WATCH = """() => {
  window.drawn = {};
  const at = () => performance.timeOrigin + performance.now();
  addEventListener("click", (event) => {
    if (event.target.closest("#generate")) window.clicked = at();
  }, true);
  new MutationObserver(() => {
    const stage = document.querySelector(".stage");
    const words = stage.querySelector(".progress-words")?.textContent;
    const key = `${stage.dataset.id} ${words ?? stage.dataset.state}`;
    if (stage.dataset.id) window.drawn[key] ??= at();
  }).observe(document.querySelector(".feed"), { childList: true, subtree: true, characterData: true,
                                                attributes: true });
}"""

WEB = """
import os, sys
sys.path.insert(0, {root!r})
from webapp.app import create_app
from webapp.settings import read_settings
import uvicorn
uvicorn.run(create_app(read_settings(os.environ)), port={port}, log_level="warning", ws="none")
"""


def main() -> None:
    """Measure and print."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    with studio() as (url, database), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = open_page(browser.new_page(), url)
        clicks, events = [], []
        for number in range(WARM_UPS + samples):
            click, of_events = one_job(page, database, number)
            if number >= WARM_UPS:
                clicks.append(click)
                events += of_events
        browser.close()
    report("click -> first visible progress", clicks, 150)
    report("event row -> DOM", events, 50)


def report(name: str, milliseconds: list[float], bar: int) -> None:
    ordered = sorted(milliseconds)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    print(
        f"{name}: median {statistics.median(ordered):.1f} ms, p95 {p95:.1f} ms, "
        f"max {ordered[-1]:.1f} ms, n {len(ordered)} (bar: median {bar} ms)"
    )


def one_job(page: Page, database: Database, number: int) -> tuple[float, list[float]]:
    """Press Generate, play the worker, and return the delays in milliseconds."""
    words = f"a red apple, number {number}"
    page.get_by_role("textbox", name="Prompt").fill(words)
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function(
        "(words) => document.querySelector('.stage-prompt')?.textContent === words", arg=words
    )
    with database.read() as session:
        newest = select(Generation).order_by(Generation.created_at.desc()).limit(1)
        job = session.scalars(newest).one()
    play_worker(database, job.id)
    page.wait_for_function("document.querySelector('.stage').dataset.state === 'failed'")
    drawn: dict[str, float] = page.evaluate("window.drawn")
    clicked: float = page.evaluate("window.clicked")
    first = min(at for key, at in drawn.items() if key.startswith(str(job.id)))
    with database.read() as session:
        steps = session.scalars(
            select(Event).where(Event.generation_id == job.id, Event.kind == "step")
        ).all()
    delays = [
        drawn[key] - step.created_at.timestamp() * 1000
        for step in steps
        if (key := f"{job.id} Step {step.data['step']} of {STEPS}") in drawn
    ]
    return first - clicked, delays


def play_worker(database: Database, job_id: uuid.UUID) -> None:
    """Claim the job, report steps as a worker does, and end it without a picture or a charge."""
    with database.transaction() as session:
        claimed = lifecycle.claim(session, job_id, "benchmark")
    assert claimed is not None
    for step in range(1, STEPS + 1):
        time.sleep(STEP_SECONDS)
        with database.transaction() as session:
            lifecycle.progress(session, claimed, step=step, steps=STEPS, preview=PREVIEW)
    time.sleep(STEP_SECONDS)
    with database.transaction() as session:
        presence.report(
            session, presence.Report("bench", "cpu", "ready", models={"pocket-turbo": None})
        )
        lifecycle.fail(session, claimed, code="benchmark", message="The benchmark ends here.")


def open_page(page: Page, url: str) -> Page:
    """Sign in through the demo provider and wait until the page is live."""
    page.goto(f"{url}/create")
    page.get_by_role("link", name="Continue with the demo provider").click()
    page.get_by_role("button", name="Cleo Marchetti").click()
    page.wait_for_selector(".feed[data-state=ready]", timeout=START_SECONDS_MAX * 1000)
    page.wait_for_selector("#price strong")
    page.evaluate(WATCH)
    return page


@contextmanager
def studio() -> Iterator[tuple[str, Database]]:
    """A studio of this run alone, seeded, with a creator who has accepted the agreements."""
    with tempfile.TemporaryDirectory(prefix="atelier-bench-", ignore_cleanup_errors=True) as folder:
        state = Path(folder)
        postgres, valkey = start_postgres(state / "postgres"), start_valkey(state / "valkey")
        web = None
        try:
            database = seeded(postgres.url, state / "weights")
            port = free_port()
            web = start_web(port, state, postgres.url, valkey.url)
            yield f"http://127.0.0.1:{port}", database
            database.dispose()
        finally:
            if web is not None:
                web.kill()
                web.wait()
            valkey.stop()
            postgres.stop()


def seeded(url: str, weights: Path) -> Database:
    """Migrate, add the demonstration's people, and make the pocket model seem installed."""
    upgrade(url)
    database = connect(url)
    demo.seed(database)
    with database.transaction() as session:
        for member in session.scalars(select(Member)).all():
            agreements.accept(session, member.id, agreements.current(), now())
    (weights / "pocket-turbo").mkdir(parents=True)
    (weights / "pocket-turbo" / "model_index.json").write_text("{}")
    return database


def free_port() -> int:
    """Return a port that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_web(
    port: int, state: Path, database_url: str, broker_url: str
) -> subprocess.Popen[bytes]:
    """Start the web process and wait until it answers."""
    environ = {
        **os.environ,
        "ATELIER_PORT": str(port),
        "ATELIER_STATE": str(state),
        "ATELIER_WEIGHTS": str(state / "weights"),
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
    }
    code = WEB.format(root=str(ROOT), port=port)
    process = subprocess.Popen([sys.executable, "-c", code], env=environ)
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=1):
                return process
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    process.kill()
    raise RuntimeError("the web process did not start")


if __name__ == "__main__":
    main()
