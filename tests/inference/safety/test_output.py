"""What leaves a worker: veiled previews, doubts added up, further filters beside the floor."""

import http.server
import importlib
import io
import json
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy.orm import Session
from test_safety_image import blur

from inference.safety import FilterUnavailable, ImageVerdict, previews
from inference.safety.filters import VARIABLE, chosen
from inference.safety.image import ImageFilter
from inference.safety.known import KnownPictures
from inference.safety.output import OutputDesk
from licensing.db import Database

ORGANISATION = uuid.UUID(int=1)


class Says:
    """A filter that always says the same."""

    is_local = True

    def __init__(self, action: str, score: float = 0.5) -> None:
        self.verdict = ImageVerdict(action, "sexual", score, "test")  # type: ignore[arg-type]

    def load(self) -> None: ...

    def check(self, _: Image.Image) -> ImageVerdict:
        return self.verdict


def picture() -> Image.Image:
    """Something with an edge that the real classifier finds harmless."""
    image = Image.new("RGB", (64, 48), "white")
    ImageDraw.Draw(image).rectangle((20, 10, 44, 38), fill="navy")
    return image


def webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def sharpest_edge(content: bytes) -> int:
    light = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.int16)
    return int(max(np.abs(np.diff(light, axis=axis)).max() for axis in (0, 1)))


def test_a_preview_that_passes_is_shown_as_it_is() -> None:
    shown = webp(picture())
    assert previews.cover(shown, ImageFilter().check) == shown


@pytest.mark.parametrize("side", [48, 64])
def test_a_preview_that_does_not_pass_is_a_wash_of_its_colours(side: int) -> None:
    given = blur(64)
    ImageDraw.Draw(given).rectangle((0, 0, 1, side), fill="white")
    covered = previews.cover(webp(given), ImageFilter().check)
    assert sharpest_edge(covered) < 32 < sharpest_edge(webp(given))
    assert Image.open(io.BytesIO(covered)).size == given.size


@pytest.mark.parametrize(("action", "score"), [("review", 0.1), ("block", 0.1), ("allow", 0.21)])
def test_anything_but_clear_is_covered(action: str, score: float) -> None:
    shown = webp(picture())
    covered = previews.cover(shown, Says(action, score).check)
    assert sharpest_edge(covered) < sharpest_edge(shown) / 4


def test_without_a_filter_a_preview_is_covered() -> None:
    def cannot(_: Image.Image) -> ImageVerdict:
        raise FilterUnavailable("The filter is not there.")

    assert sharpest_edge(previews.cover(webp(picture()), cannot)) < 48


@pytest.fixture
def known(database: Database) -> KnownPictures:
    empty = KnownPictures()
    with Session(database.engine) as session:
        empty.refresh(session)
    return empty


@pytest.mark.parametrize(
    ("action", "is_doubtful", "outcome"),
    [
        ("allow", True, "allow"),
        ("review", False, "review"),
        ("review", True, "block"),
        ("block", False, "block"),
    ],
)
def test_two_doubts_are_a_refusal(
    known: KnownPictures, action: str, *, is_doubtful: bool, outcome: str
) -> None:
    desk = OutputDesk(known, Says(action))
    verdict = desk.judge(picture(), ORGANISATION, is_doubtful=is_doubtful)
    assert verdict.action == outcome


def test_the_floor_judges_whatever_else_is_asked_for() -> None:
    for value in ("", " ", ",,", "nudenet", "falconsai", "none", "off"):
        filters = chosen({VARIABLE: value, "ATELIER_FALCONSAI": "/"}).filters
        assert isinstance(filters[0], ImageFilter)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({VARIABLE: "nudnet"}, "which is no picture filter"),
        ({VARIABLE: "off"}, "which is no picture filter"),
        ({VARIABLE: "falconsai"}, "names no folder"),
        ({VARIABLE: "endpoint"}, "no https address"),
        ({VARIABLE: "endpoint", "ATELIER_IMAGE_ENDPOINT": "http://elsewhere.example"}, "no https"),
        ({VARIABLE: "endpoint", "ATELIER_IMAGE_ENDPOINT": "file:///etc/passwd"}, "no https"),
    ],
)
def test_a_further_filter_that_cannot_load_stops_everything(
    environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(FilterUnavailable, match=sentence):
        chosen(environment).load()


def test_nudenet_is_asked_beside_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nudenet.py").write_text(
        "class NudeDetector:\n"
        "    def detect(self, content):\n"
        "        assert content[:8] == b'\\x89PNG\\r\\n\\x1a\\n'\n"
        "        return [{'class': 'FACE_FEMALE', 'score': 0.99, 'box': [0, 0, 1, 1]},\n"
        "                {'class': 'ANUS_EXPOSED', 'score': 0.7, 'box': [0, 0, 1, 1]}]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nudenet", raising=False)
    verdict = chosen({VARIABLE: "NudeNet"}).check(picture())
    assert (verdict.action, verdict.score, verdict.source) == ("block", 0.7, "nudenet")


@pytest.mark.nightly
def test_falconsai_is_read_from_its_folder(tmp_path: Path) -> None:
    """A tiny untrained classifier in the same form, which says "nsfw" to everything."""
    torch, transformers = (importlib.import_module(name) for name in ("torch", "transformers"))
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=32,
        patch_size=16,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    model = transformers.ViTForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 3.0]))
    model.save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    with pytest.raises(FilterUnavailable, match="no image classifier"):
        chosen({VARIABLE: "falconsai", "ATELIER_FALCONSAI": "/"}).load()
    verdict = chosen({VARIABLE: "falconsai", "ATELIER_FALCONSAI": str(tmp_path)}).check(picture())
    assert (verdict.action, verdict.source) == ("block", "falconsai")
    assert verdict.score == pytest.approx(0.953, abs=0.01)


class Answering(http.server.BaseHTTPRequestHandler):
    answer = (200, b"{}")
    asked: ClassVar[dict[str, object]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked = {"key": self.headers["Authorization"], **json.loads(body)}
        status, content = self.answer
        self.send_response(status)
        if status == 307:
            self.send_header("Location", content.decode())
            content = b""
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/moderations"
    server.shutdown()
    thread.join()
    server.server_close()


def moderated(*, flagged: bool, violence: float) -> bytes:
    scores = {"sexual": 0.02, "violence/graphic": violence}
    result = {"flagged": flagged, "categories": {}, "category_scores": scores}
    return json.dumps({"results": [result]}).encode()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (moderated(flagged=True, violence=0.9), ("block", "violence/graphic")),
        (moderated(flagged=False, violence=0.5), ("review", "violence/graphic")),
        (moderated(flagged=False, violence=0.1), ("allow", None)),
    ],
)
def test_an_endpoint_is_asked_and_believed(
    endpoint: str, answer: bytes, outcome: tuple[str, str | None]
) -> None:
    Answering.answer = (200, answer)
    environment = {
        VARIABLE: "endpoint",
        "ATELIER_IMAGE_ENDPOINT": endpoint,
        "ATELIER_IMAGE_ENDPOINT_KEY": "secret",
    }
    verdict = chosen(environment).check(picture())
    assert (verdict.action, verdict.category) == outcome
    assert Answering.asked["key"] == "Bearer secret"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"{}"),
        (200, b"<html>"),
        (200, moderated(flagged=True, violence=7.0)),
        (500, moderated(flagged=False, violence=0.0)),
        (307, b"http://127.0.0.1:1/"),
    ],
)
def test_an_endpoint_that_does_not_answer_judges_nothing(
    endpoint: str, answer: tuple[int, bytes]
) -> None:
    Answering.answer = answer
    with pytest.raises(FilterUnavailable):
        chosen({VARIABLE: "endpoint", "ATELIER_IMAGE_ENDPOINT": endpoint}).check(picture())
