"""A picture on the block list is refused, also turned, for whom the list is meant and no other."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_tools import fake_tools
from jobs import Desk
from PIL import Image
from sqlalchemy import select

from inference.job import generate
from inference.process import WorkerProcess
from inference.safety import ImageVerdict
from inference.safety.known import KnownPictures
from inference.safety.output import OutputDesk
from inference.safety.pdq import fingerprint
from inference.settings import Settings
from licensing import block_list
from licensing.block_list import InvalidHash
from licensing.db import Database
from licensing.moderation import Verdict

PICTURE = Image.effect_mandelbrot((256, 256), (-2.1, -1.3, 0.7, 1.3), 60).convert("RGB")
PDQ = fingerprint(PICTURE).orientations[0].tobytes()


def list_for(desk: Desk, *, pdq: bytes = PDQ) -> None:
    with desk.database.transaction() as session:
        block_list.block(
            session,
            organisation_id=desk.member.organisation_id,
            pdq=pdq,
            category="harassment",
            note="reported",
            added_by=desk.member.id,
        )


def feed(database: Database, lines: list[str], source: str = "feed") -> int:
    with database.transaction() as session:
        return block_list.import_feed(session, lines, source=source, category="csam")


def check(database: Database, known: KnownPictures, organisation_id: uuid.UUID) -> str | None:
    with database.read() as session:
        known.refresh(session)
    verdict = known.check(PICTURE.transpose(Image.Transpose.ROTATE_90), organisation_id)
    return None if verdict is None else f"{verdict.action} {verdict.category} {verdict.source}"


def test_an_organisations_own_entry_counts_for_it_alone_and_until_it_is_taken_off(
    desk: Desk,
) -> None:
    known, ours = KnownPictures(), desk.member.organisation_id
    assert check(desk.database, known, ours) is None
    list_for(desk)
    list_for(desk)  # again is harmless
    assert check(desk.database, known, ours) == "block harassment pdq:reviewer"
    assert check(desk.database, known, uuid.uuid4()) is None
    with desk.database.transaction() as session:
        assert block_list.unblock(session, ours, PDQ, desk.member.id) == 1
    assert check(desk.database, known, ours) is None


def test_a_feed_counts_for_everybody_and_is_imported_whole_or_not_at_all(desk: Desk) -> None:
    known = KnownPictures()
    lines = ["# a comment", "", f"{PDQ.hex().upper()},80,any words", "ab" * 32]
    assert feed(desk.database, lines) == 2
    assert feed(desk.database, lines) == 0, "the same feed again adds nothing"
    assert check(desk.database, known, uuid.uuid4()) == "block csam pdq:feed"
    with pytest.raises(InvalidHash, match="Line 2 "):
        feed(desk.database, ["cd" * 32, "not a hash"], source="other")
    with desk.database.transaction() as session:
        assert len(list(block_list.entries(session))) == 2
        assert block_list.drop_feed(session, "feed") == 2
    assert check(desk.database, known, uuid.uuid4()) is None


class Elsewhere:
    """A classifier that pictures are sent to."""

    is_local = False

    def __init__(self) -> None:
        self.sent: list[Image.Image] = []

    def load(self) -> None: ...

    def check(self, image: Image.Image) -> ImageVerdict:
        self.sent.append(image)
        return ImageVerdict("allow", None, 0.0, "elsewhere")


def test_what_is_on_the_list_is_sent_to_nobody(desk: Desk) -> None:
    list_for(desk)
    known, elsewhere, ours = KnownPictures(), Elsewhere(), desk.member.organisation_id
    with desk.database.read() as session:
        known.refresh(session)
    output = OutputDesk(known, elsewhere)
    assert output.judge(PICTURE, ours).action == "block"
    assert elsewhere.sent == []
    assert output.judge(PICTURE, uuid.uuid4()).action == "allow", "not on the list of others"
    assert elsewhere.sent == [PICTURE]


@pytest.fixture
def process(database_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    settings = Settings(
        database_url=database_url,
        broker_url="redis://unused",
        state_folder=tmp_path,
        weights_folder=tmp_path / "weights",
        worker_classes=("pocket",),
    )
    process = WorkerProcess(settings, fake_tools)
    process.begin()
    yield process
    process.end()


def test_the_worker_refuses_a_listed_picture_and_charges_nothing(
    desk: Desk, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_for(desk)
    monkeypatch.setattr(process.tools().engine, "decode", lambda *_: [PICTURE])
    job = desk.queue(images=1)
    generate(process, job.id)
    assert desk.read(job.id).state == "refused"
    assert desk.balance().held_micros == 0
    with desk.database.read() as session:
        verdict = session.scalars(select(Verdict).where(Verdict.generation_id == job.id)).one()
    assert (verdict.action, verdict.category, verdict.source) == (
        "block",
        "harassment",
        "pdq:reviewer",
    )
