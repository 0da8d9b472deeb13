"""An atlas that needs no art: small sprites, each subject in a colour of its own."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from inference.training.paint import TABLES_FILE, Atlas
from inference.training.subjects import STYLES, subjects

SIDE_PX, COLUMNS = 32, 20


def colour_of(subject: int) -> tuple[int, int, int]:
    """An sRGB colour that no background has, one for each subject."""
    return 40 + subject % 7 * 30, 100, 40 + subject // 7 * 4


def write_atlas(folder: Path) -> Path:
    """Write sheets and manifest as `art.build` does and return the folder."""
    folder.mkdir(parents=True)
    rows = -(-len(subjects()) // COLUMNS)
    for style in STYLES:
        sheet = np.zeros((rows * SIDE_PX, COLUMNS * SIDE_PX, 4), np.uint8)
        for index in range(len(subjects())):
            top, left = index // COLUMNS * SIDE_PX, index % COLUMNS * SIDE_PX
            sheet[top + 2 : top + 30, left + 2 : left + 30] = (*colour_of(index), 255)
        Image.fromarray(sheet).save(folder / f"{style}.webp", lossless=True, exact=True)
    names = [subject.name for subject in subjects()]
    manifest = {"sprite_px": SIDE_PX, "columns": COLUMNS, "styles": STYLES, "subjects": names}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    atlas = Atlas.load(folder)
    np.savez(folder / TABLES_FILE, visible=atlas.visible, tintable=atlas.tintable)
    return folder
