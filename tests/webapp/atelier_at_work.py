"""A studio in which a creator works: signed in, agreed, funded; and a worker played by the test.

The worker's part is played with `inference.lifecycle`, as the real one calls it: a test says
when each step happens. Pictures are one colour each.
"""

import io
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
from PIL import Image
from running import Running, sign_in, start

from inference import generations, lifecycle
from inference.generations import Generation
from inference.lifecycle import Made
from inference.storage import picture_key, thumbnail_key
from licensing import agreements, ledger
from licensing.db import now
from licensing.ledger import Balance
from licensing.seats import Member
from webapp import demo, generate

PREVIEW = "data:image/webp;base64,UklGRg=="


@dataclass(frozen=True)
class Work:
    running: Running
    member: Member

    def client(self, subject: str | None = None) -> httpx2.Client:
        """Return a signed-in client that asks as a page's script does."""
        browser = self.running.browser(accept="application/json")
        sign_in(browser, subject or self.member.subject)
        return browser

    def submit(
        self, prompt: str = "a red apple", key: str | None = None, **fields: object
    ) -> Generation:
        wanted = {"prompt": prompt, "model": "pocket-turbo", "width": 128, "height": 128, **fields}
        return generate.submit(self.running.studio, self.member, wanted, key or uuid.uuid4().hex)

    def claim(self, job: Generation) -> Generation:
        with self.running.database.transaction() as session:
            claimed = lifecycle.claim(session, job.id, "played by a test")
        assert claimed is not None
        return claimed

    def step(self, claimed: Generation, step: int, steps: int = 8) -> None:
        with self.running.database.transaction() as session:
            lifecycle.progress(session, claimed, step=step, steps=steps, preview=PREVIEW)

    def finish(self, claimed: Generation, refused: Sequence[int] = ()) -> Generation:
        made = self._draw(claimed, refused)
        with self.running.database.transaction() as session:
            assert lifecycle.finish(session, claimed, made)
        return self.read(claimed)

    def refuse_all(self, claimed: Generation) -> Generation:
        """End it as the worker does when the filter says no to every picture."""
        made = self._draw(claimed, range(claimed.images))
        with self.running.database.transaction() as session:
            assert lifecycle.refuse(
                session, claimed, code="output_refused", message="Refused.", made=made
            )
        return self.read(claimed)

    def _draw(self, claimed: Generation, refused: Sequence[int]) -> list[Made]:
        asked = claimed.asked
        storage = self.running.studio.storage
        made = []
        for index in range(claimed.images):
            picture = uuid.uuid4()
            original, small = picture_key(picture), thumbnail_key(picture)
            storage.put(original, encoded("PNG", asked.width, asked.height))
            storage.put(small, encoded("WEBP", 64, 64))
            made.append(
                Made(
                    id=picture,
                    index=index,
                    seed=asked.seed + index,
                    key=original,
                    thumbnail_key=small,
                    sha256="0" * 64,
                    refused=index in refused,
                )
            )
        return made

    def finished(self, prompt: str = "a red apple", **fields: object) -> Generation:
        return self.finish(self.claim(self.submit(prompt, **fields)))

    def read(self, job: Generation) -> Generation:
        with self.running.database.read() as session:
            return generations.access(session, self.member, job.id)

    def balance(self) -> Balance:
        with self.running.database.read() as session:
            return ledger.balance(session, self.member.organisation_id)


def open_work(stack: ExitStack, environ: dict[str, str]) -> Work:
    """Start a demonstration whose creator has accepted the agreements; weights seem to be there."""
    weights = Path(environ["ATELIER_STATE"]) / "weights"
    for model in ("pocket-turbo", "pocket-raw"):
        (weights / model).mkdir(parents=True, exist_ok=True)
        (weights / model / "model_index.json").write_text("{}")
    running = start(stack, {**environ, "ATELIER_WEIGHTS": str(weights)})
    demo.seed(running.database)
    work = Work(running, running.member("demo-creator"))
    agree(work, work.member)
    return work


def agree(work: Work, member: Member) -> None:
    with work.running.database.transaction() as session:
        agreements.accept(session, member.id, agreements.current(), now())


def encoded(kind: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (40, 110, 85)).save(file, kind)
    return file.getvalue()
