import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.training import art
from inference.training.subjects import STYLE_PHRASES, STYLES, Subject, subjects

APPLE = Subject("1f34e", "apple", "apples", "red")
CLOUD = Subject("2601", "cloud", "clouds", None)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An icon package in the registry's format: one plain code point, one with a selector."""
    square = '<path fill="#00a000" d="M2 10h8v4H2z"/>'
    icons = {"red-apple": {"body": square}, "cloud": {"body": square}}
    (tmp_path / "icons.json").write_text(json.dumps({"icons": icons, "height": 32}))
    (tmp_path / "chars.json").write_text(json.dumps({"1f34e": "red-apple", "2601-fe0f": "cloud"}))
    return tmp_path


def test_drawings_are_found_by_code_point_and_fill_the_same_box(package: Path) -> None:
    draw = art.svg_artist(package)
    for subject in (APPLE, CLOUD):
        sprite = np.asarray(art.normalise(draw(subject)))
        assert sprite.shape == (art.SPRITE_PX, art.SPRITE_PX, 4)
        rows, columns = np.nonzero(sprite[..., 3] > 128)
        assert abs((columns.max() - columns.min() + 1) - art.INK_PX) <= 2
        assert abs((rows.max() - rows.min() + 1) - art.INK_PX / 2) <= 2
        assert abs(rows.mean() - art.SPRITE_PX / 2) < 2
        assert sprite[128, 128].tolist() == [0, 160, 0, 255]


def test_pixel_art_is_made_of_whole_opaque_blocks() -> None:
    ramp = np.linspace(0, 255, art.SPRITE_PX, dtype=np.uint8)
    smooth = np.dstack(
        [np.tile(ramp, (art.SPRITE_PX, 1))] * 3 + [np.full((256, 256), 255, np.uint8)]
    )
    sprite = np.asarray(art.pixelate(Image.fromarray(smooth)))
    edge, block = (art.SPRITE_PX - art.INK_PX) // 2, art.INK_PX // art.PIXEL_ART_BLOCKS
    ink = sprite[edge:-edge, edge:-edge]
    blocks = ink.reshape(art.PIXEL_ART_BLOCKS, block, art.PIXEL_ART_BLOCKS, block, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert set(np.unique(sprite[..., 3])) <= {0, 255}
    assert len(np.unique(ink.reshape(-1, 4), axis=0)) <= 12


def test_sheets_keep_the_order_of_subjects() -> None:
    sprites = [Image.new("RGBA", (256, 256), (at, 0, 0, 255)) for at in range(25)]
    sheet = art.grid(sprites)
    assert sheet.size == (art.COLUMNS * 256, 2 * 256)
    assert sheet.getpixel((3 * 256 + 5, 5)) == (3, 0, 0, 255)
    assert sheet.getpixel((4 * 256 + 5, 256 + 5)) == (24, 0, 0, 255)


def test_the_registry_is_not_asked_twice(tmp_path: Path) -> None:
    _, version, _ = art.PACKAGES["flat"]
    kept = tmp_path / f"flat-{version}" / "package"
    kept.mkdir(parents=True)
    assert art.fetch("flat", tmp_path) == kept


def test_subjects_are_few_hundred_distinct_everyday_words() -> None:
    names = [subject.name for subject in subjects()]
    assert 256 <= len(names) <= 320
    assert len(set(names)) == len({subject.codepoint for subject in subjects()}) == len(names)
    assert all(1 <= len(name.split()) <= 3 for name in names)
    assert len(STYLES) == len(STYLE_PHRASES) == 5
    assert not any("sa" in licence.lower() for *_, licence in art.PACKAGES.values())
