"""Pictures are hashed behind the scenes, so that a reported copy finds its original."""

from contextlib import ExitStack

import numpy as np
import pytest
from at_bench import Bench, draw_on, hash_pictures, open_bench, textured
from PIL import Image
from sqlalchemy import func, select

from inference import fingerprints
from inference.fingerprints import Fingerprint
from inference.safety import pdq
from inference.storage import thumbnail_key
from webapp import account, departures


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    return open_bench(stack, environ)


def find(bench: Bench, image: Image.Image) -> list[object]:
    orientations = [row.tobytes() for row in pdq.fingerprint(image).orientations]
    with bench.work.running.database.read() as session:
        return list(fingerprints.find(session, orientations))


def test_a_picture_is_found_in_every_orientation_smaller_and_with_noise(bench: Bench) -> None:
    job, other = bench.work.finished(), bench.work.finished("another")
    draw_on(bench.work, job, 0, textured(1))
    draw_on(bench.work, other, 0, textured(2))
    assert hash_pictures(bench.work) == 2
    noise = np.random.default_rng(3).normal(0, 6, (256, 256, 3))
    noisy = np.clip(np.asarray(textured(1)) + noise, 0, 255).astype(np.uint8)
    for way in Image.Transpose:
        copy = Image.fromarray(noisy).transpose(way).resize((170, 170))
        assert find(bench, copy) == [job.pictures[0].id], way
    assert find(bench, textured(9)) == []


def test_each_picture_is_hashed_once_and_a_plain_one_fits_nothing(bench: Bench) -> None:
    bench.work.finished()  # one colour
    assert hash_pictures(bench.work) == 1
    assert hash_pictures(bench.work) == 0
    assert find(bench, Image.new("RGB", (256, 256), (40, 110, 85))) == []


def test_a_missing_file_stops_nothing(bench: Bench) -> None:
    job = bench.work.finished(images=2)
    bench.work.running.studio.storage.delete(thumbnail_key(job.pictures[0].id))
    assert hash_pictures(bench.work) == 2
    assert hash_pictures(bench.work) == 0


def test_the_hash_goes_with_its_picture(bench: Bench) -> None:
    job = bench.work.finished()
    draw_on(bench.work, job, 0, textured(1))
    hash_pictures(bench.work)
    studio, owner = bench.work.running.studio, bench.desks.team.owner
    account.remove(studio, owner, bench.creator.id)
    departures.erase(studio, owner, bench.creator.id)
    with studio.database.read() as session:
        assert session.scalars(select(func.count()).select_from(Fingerprint)).one() == 0
