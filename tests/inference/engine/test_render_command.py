"""`atelier render` behind the command line: a file, or a sentence and no file."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from inference.models import ModelUnavailable
from inference.render_command import NotWritable, PictureRefused, RenderOrder, render_to_files
from inference.request import InvalidRequest
from inference.safety import FilterUnavailable
from licensing.moderation import PromptRefused


@pytest.fixture
def order(weights: Path, tmp_path: Path) -> RenderOrder:
    return RenderOrder(
        prompt="a red apple",
        model="pocket-turbo",
        out=tmp_path / "apple.png",
        weights_folder=weights,
        state_folder=tmp_path / "state",
        seed=1,
        width=128,
        height=144,
    )


def silent(_sentence: str) -> None: ...


def test_a_prompt_becomes_a_stamped_png(order: RenderOrder) -> None:
    said = list[str]()
    assert render_to_files(order, said.append) == [order.out]
    with Image.open(order.out) as picture:
        assert (picture.format, picture.size) == ("PNG", (128, 144))
        settings = json.loads(picture.info["atelier"])
    assert (settings["model"], settings["seed"], settings["steps"]) == ("Pocket Turbo", 1, 8)
    assert said[0].startswith("Loading Pocket Turbo")
    assert said[-1] == f"Wrote {order.out} (seed 1)."


def test_the_same_seed_gives_the_same_pixels(order: RenderOrder) -> None:
    again = replace(order, out=order.out.with_name("again.png"))
    for each in (order, again):
        render_to_files(each, silent)
    with Image.open(order.out) as one, Image.open(again.out) as other:
        assert one.tobytes() == other.tobytes()


def test_several_pictures_are_numbered(order: RenderOrder) -> None:
    written = render_to_files(replace(order, images=2), silent)
    assert [path.name for path in written] == ["apple-1.png", "apple-2.png"]
    assert sorted(order.out.parent.glob("*.png")) == written


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"width": 130}, "width"),
        ({"height": 4096}, "height"),
        ({"images": 500}, "images"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_fields_are_named(order: RenderOrder, change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        render_to_files(replace(order, **change), silent)  # type: ignore[arg-type]
    assert refusal.value.field == field
    assert not order.out.exists()


def test_the_prompt_policy_holds_here_too(order: RenderOrder) -> None:
    with pytest.raises(PromptRefused):
        render_to_files(replace(order, prompt="naked child"), silent)
    assert not order.out.exists()


def test_an_unknown_model_and_missing_weights_are_told_apart(
    order: RenderOrder, tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable, match="catalogue"):
        render_to_files(replace(order, model="sdxl"), silent)
    with pytest.raises(ModelUnavailable, match="weights of Pocket Turbo"):
        render_to_files(replace(order, weights_folder=tmp_path), silent)


def test_a_place_that_cannot_be_written_is_told_before_the_work(order: RenderOrder) -> None:
    missing = order.out.parent / "nowhere" / "apple.png"
    with pytest.raises(NotWritable, match="does not exist"):
        render_to_files(replace(order, out=missing), pytest.fail)
    with pytest.raises(NotWritable, match="is a folder"):
        render_to_files(replace(order, out=order.out.parent), pytest.fail)


def test_without_a_filter_nothing_is_drawn(
    order: RenderOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inference.safety.opennsfw", None)
    with pytest.raises(FilterUnavailable):
        render_to_files(order, pytest.fail)
    assert not order.out.exists()


def test_a_blocked_picture_is_not_written(
    order: RenderOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real filter, with a threshold that every picture reaches.
    monkeypatch.setattr("inference.safety.image.BLOCK_SCORE", 0.0)
    said = list[str]()
    with pytest.raises(PictureRefused):
        render_to_files(order, said.append)
    assert not order.out.exists()
    assert any(re.search("blocked picture 1", sentence) for sentence in said)
