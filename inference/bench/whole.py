"""A whole request as a worker makes it: prompt, steps, decoding, filters, files on the disk."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL.Image import Image

from inference.delivery import judge_and_stamp, put
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.provenance.papers import open_papers
from inference.provenance.stamp import Origin
from inference.request import GenerationRequest
from inference.safety import ImageVerdict
from inference.safety.image import ImageFilter
from inference.safety.known import KnownPictures
from inference.safety.output import OutputDesk
from inference.storage import Storage
from licensing.block_list import HASH_BYTES, Entry, Revision

KNOWN = 100_000  # hashes that every picture is held against
NOBODY = uuid.UUID(int=0)


@dataclass(frozen=True)
class Phases:
    """Seconds of one request."""

    encode: float
    denoise: float
    decode: float
    files: float

    @property
    def whole(self) -> float:
        """All of it."""
        return self.encode + self.denoise + self.decode + self.files

    @classmethod
    def median(cls, runs: Sequence["Phases"]) -> "Phases":
        """Each phase's median; `whole` is then nearly the median of the whole."""
        columns = zip(*((r.encode, r.denoise, r.decode, r.files) for r in runs), strict=True)
        return cls(*(float(np.median(column)) for column in columns))


class Finishing:
    """The worker's last stage without its database: judge, mark, sign, write."""

    def __init__(self, folder: Path) -> None:
        """Keep the files in `folder`; the block list is made of random hashes."""
        self._papers = open_papers(folder / "papers")
        self._storage = Storage(folder / "pictures")
        image_filter, known = ImageFilter(), KnownPictures()
        image_filter.load()
        hashes = np.random.default_rng(0).bytes(KNOWN * HASH_BYTES)
        entries = [
            Entry(row, hashes[row * HASH_BYTES :][:HASH_BYTES], None, "sexual", "bench")
            for row in range(KNOWN)
        ]
        known.hold(Revision(KNOWN, None), entries)
        self._desk = OutputDesk(known, image_filter)

    def __call__(self, images: Sequence[Image], origin: Origin) -> None:
        """The files of `images`."""
        origins = [origin] * len(images)
        for _, files in judge_and_stamp(images, self._judge, origins, self._papers):
            put(self._storage, uuid.uuid4(), files)

    def _judge(self, image: Image) -> ImageVerdict:
        return self._desk.judge(image, NOBODY)


def run(
    engine: PipelineEngine, model: Model, request: GenerationRequest, finishing: Finishing
) -> Phases:
    """Make the pictures of `request`, whose prompt the engine has not kept, and time it."""
    engine.texts.clear()
    marks = [time.perf_counter()]

    def passed() -> None:
        marks.append(time.perf_counter())

    conditioning = engine.encode(request, model)
    passed()
    latents = engine.denoise(conditioning, request, model, lambda _step: None, lambda: False)
    latents[-1].settle()
    passed()
    images = engine.decode(latents)
    passed()
    finishing(images, Origin(model, "bench", request.seed, engine.build))
    passed()
    return Phases(*(after - before for before, after in pairwise(marks)))


def median_of(make: Callable[[], Phases], runs: int, seconds_max: float) -> tuple[Phases, int]:
    """The median of at most `runs` after two warm-ups, and how many there were."""
    for _ in range(2):
        make()
    began, made = time.perf_counter(), list[Phases]()
    while len(made) < runs and (not made or time.perf_counter() - began < seconds_max):
        made.append(make())
    return Phases.median(made), len(made)
