"""The output desk: all that is asked about a picture before anybody sees it, and how it adds up.

The block list and the classifiers are asked, at once where all of them are on this machine, and the
list has the first word. A prompt that a reviewer is to look at and a picture that a reviewer is to
look at do not add up to a picture that goes out: two doubts are a refusal. Nothing here can loosen
a verdict. Called by the worker's last stage and for previews.
"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from PIL.Image import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.safety import ImageVerdict
from inference.safety.known import KnownPictures
from licensing.cases import MINORS
from licensing.moderation import Verdict

STRICTNESS = {"allow": 0, "review": 1, "block": 2}


class ImageFilter(Protocol):
    """Judges pictures; fails closed."""

    @property
    def is_local(self) -> bool:
        """Whether it sends pictures nowhere."""

    def load(self) -> None:
        """Make ready; raises `FilterUnavailable`."""

    def check(self, image: Image, /) -> ImageVerdict:
        """Judge one picture; raises `FilterUnavailable`."""


class OutputDesk:
    """The block list and the classifiers of one process."""

    def __init__(self, known: KnownPictures, image_filter: ImageFilter) -> None:
        """Take what judges; `known` is refreshed and `image_filter` loaded by their owner."""
        self._known = known
        self._image_filter = image_filter

    def judge(
        self, image: Image, organisation_id: uuid.UUID, *, is_doubtful: bool = False
    ) -> ImageVerdict:
        """Judge a picture whose prompt was let through in doubt, or without one.

        Raises `FilterUnavailable` when any of the judges cannot say.
        """
        if self._image_filter.is_local:
            with ThreadPoolExecutor(1) as beside:
                classified = beside.submit(self._image_filter.check, image)
                verdict = self._known.check(image, organisation_id) or classified.result()
        else:  # what is on the list may be evidence, and is sent to nobody
            verdict = self._known.check(image, organisation_id) or self._image_filter.check(image)
        if is_doubtful and verdict.action == "review":
            return replace(verdict, action="block", source=f"{verdict.source}, doubtful prompt")
        return verdict


def is_doubtful(session: Session, generation_id: uuid.UUID) -> bool:
    """Whether the prompt of a generation was let through for a reviewer to look at."""
    query = select(Verdict.id).where(
        Verdict.generation_id == generation_id,
        Verdict.subject == "prompt",
        Verdict.action == "review",
    )
    return session.scalars(query.limit(1)).first() is not None


def strictest(verdicts: list[ImageVerdict]) -> ImageVerdict:
    """The verdict that lets the least through; of equals minors first, since they are evidence."""
    return max(
        verdicts, key=lambda one: (STRICTNESS[one.action], one.category in MINORS, one.score)
    )
