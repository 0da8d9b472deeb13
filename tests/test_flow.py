"""The product read aloud: one picture, from sign-in to the bill, through the doors people use.

The pages, the broker and a worker process of their own have tests of their own (tests/browser,
tests/inference); here all of it runs in one process, so that the way can be read from top to
bottom. Everything is real: provider, database, Krea2Pipeline with the pocket weights, filter,
files and books.
"""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from desks import add_desks
from PIL import Image
from running import Running, sign_in, start

from inference.job import generate as make
from inference.process import WorkerProcess
from inference.settings import from_environment
from inference.worker import load_tools
from licensing import audit, ledger
from licensing.ledger import Balance
from webapp import demo, generate

PROMPT = "a red apple, flat style, on a blue background"
TURBO_PICTURE_MICROS = 15_000


@pytest.fixture
def environ(database_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "ATELIER_STATE": str(tmp_path),
        "ATELIER_WORKER_CLASSES": "pocket",
    }


@pytest.fixture
def studio(environ: dict[str, str]) -> Iterator[Running]:
    with ExitStack() as stack:
        running = start(stack, environ)
        add_desks(running)
        demo.seed(running.database)
        yield running


@pytest.fixture
def gpu_worker(environ: dict[str, str]) -> Iterator[WorkerProcess]:
    process = WorkerProcess(from_environment(environ), load_tools)
    process.begin()
    yield process
    process.end()


def test_one_picture_goes_the_whole_way(studio: Running, gpu_worker: WorkerProcess) -> None:
    # A creator signs in and accepts the licence and the acceptable-use policy.
    creator = studio.browser()
    sign_in(creator, "demo-creator")
    accept_agreements(creator)
    member = studio.member("demo-creator")
    before = balance(studio)

    # The price stands there before anything is asked for; pressing Generate holds exactly that.
    fields = {"prompt": PROMPT, "model": "pocket-turbo", "width": 256, "height": 256, "seed": 1}
    with studio.database.read() as session:
        price = generate.quote(session, fields)
    assert price.total_micros == TURBO_PICTURE_MICROS
    job = generate.submit(studio.studio, member, fields, "the form's own key")
    again = generate.submit(studio.studio, member, fields, "the form's own key")
    assert again.id == job.id, "a double click is one job"
    assert balance(studio).held_micros == price.total_micros
    assert balance(studio).settled_micros == before.settled_micros

    # A worker draws it, filters it, stores it and settles.
    make(gpu_worker, job.id)
    make(gpu_worker, job.id)  # a message may come twice: the work and the money do not
    assert balance(studio).held_micros == 0
    assert balance(studio).settled_micros == before.settled_micros - price.total_micros

    # The gallery shows it with its price; the file is the picture that was asked for.
    entry = creator.get("/gallery", headers={"accept": "application/json"}).json()["jobs"][0]
    assert entry["prompt"] == PROMPT
    picture_url = f"/media/{entry['pictures'][0]['id']}"
    picture = Image.open(io.BytesIO(creator.get(picture_url).raise_for_status().content))
    assert picture.size == (256, 256)
    assert colour_at(picture, 8, 8) == "blue"
    assert colour_at(picture, 128, 150) == "red"
    assert studio.browser().get(picture_url).status_code != 200, "nobody else gets to see it"

    # Finance finds the picture on this month's bill, and the books add up from the first row.
    finance = studio.browser()
    sign_in(finance, "demo-finance")
    month = datetime.now(UTC).strftime("%Y-%m")
    bill = finance.get("/finance/files/csv", params={"month": month}).raise_for_status().text
    lines = list(csv.DictReader(io.StringIO(bill)))
    assert [line["amount_micros"] for line in lines] == [str(price.total_micros)]
    with studio.database.read() as session:
        assert audit.audit(session) == []


def accept_agreements(browser: httpx2.Client) -> None:
    shown = browser.get("/agreements").text
    texts = re.findall(r'name="accept" value="([0-9a-f]{64})"', shown)
    assert len(texts) == 2
    assert browser.post("/agreements", data={"accept": texts}).status_code == 303


def balance(studio: Running) -> Balance:
    with studio.database.read() as session:
        return ledger.balance(session, studio.member("demo-finance").organisation_id)


def colour_at(picture: Image.Image, x: int, y: int) -> str:
    red, green, blue = picture.convert("RGB").getpixel((x, y))  # type: ignore[misc]
    strongest = max((red, "red"), (green, "green"), (blue, "blue"))
    return strongest[1]
