"""A remote classifier as a further picture filter: an endpoint with OpenAI's moderation API.

ATELIER_IMAGE_ENDPOINT is its URL (https, or http on this machine), ATELIER_IMAGE_ENDPOINT_KEY a
bearer token, ATELIER_IMAGE_ENDPOINT_MODEL the model's name. Pictures leave the machine with it: the
operator chose so, and should say so to members. Redirects are not followed; an endpoint that does
not answer in time, or nonsense, judges nothing, and then nothing is shown.
"""

import base64
import http.client
import io
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from PIL.Image import Image, Resampling

from inference.safety import FilterUnavailable, ImageVerdict
from inference.safety.image import REVIEW_SCORE

SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 1 << 20
SIDE_MAX = 1024  # what such services look at; more is only slower
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
SOURCE = "endpoint"


class EndpointFilter:
    """Judges pictures by asking elsewhere."""

    is_local = False

    def __init__(self, url: str, key: str, model: str) -> None:
        """Remember where; ask nobody yet."""
        self._url, self._key, self._model = url, key, model

    def load(self) -> None:
        """Check the address. Raises `FilterUnavailable`."""
        parts = urlsplit(self._url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
        if not is_safe or not parts.hostname:
            raise FilterUnavailable(
                "The picture filter endpoint was asked for, but ATELIER_IMAGE_ENDPOINT is no https "
                "address, so no picture can be made."
            )

    def check(self, image: Image) -> ImageVerdict:
        """Ask about one picture. Raises `FilterUnavailable`."""
        self.load()
        try:
            result = self._ask(image)["results"][0]
            is_flagged, scores = result["flagged"], result["category_scores"]
            category, score = max(
                ((str(name), float(value)) for name, value in scores.items()),
                key=lambda found: found[1],
            )
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
        ) as error:
            raise FilterUnavailable(
                "The picture filter at ATELIER_IMAGE_ENDPOINT gave no answer, so this picture "
                "cannot be shown."
            ) from error
        if not isinstance(is_flagged, bool) or not 0 <= score <= 1:
            raise FilterUnavailable("The picture filter at ATELIER_IMAGE_ENDPOINT talks nonsense.")
        if is_flagged:
            return ImageVerdict("block", category, score, SOURCE)
        if score >= REVIEW_SCORE:
            return ImageVerdict("review", category, score, SOURCE)
        return ImageVerdict("allow", None, score, SOURCE)

    def _ask(self, image: Image) -> Any:
        small = image.convert("RGB")
        small.thumbnail((SIDE_MAX, SIDE_MAX), Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", compress_level=1)
        picture = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        asked = {
            "model": self._model,
            "input": [{"type": "image_url", "image_url": {"url": picture}}],
        }
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(  # noqa: S310 - `load` has checked the scheme
            self._url, json.dumps(asked).encode(), headers, method="POST"
        )
        with _OPENER.open(request, timeout=SECONDS_MAX) as answer:
            return json.loads(answer.read(ANSWER_BYTES_MAX))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is no answer: it could lead a picture, and the key, anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirect)
