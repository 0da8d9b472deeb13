"""The sprite atlas and the painter: scene specifications in, pictures out, batched on any device.

Owns how a specification looks; knows nothing about captions or about how scenes are drawn from
chance (`scenes`).  Painting uses tensor operations only, and no step waits for the GPU: which mip
level a sprite needs is decided in numpy beforehand.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from inference.training.subjects import BACKGROUNDS, STYLES, TINTS, subjects

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

# A scene holds up to three sprites: one subject once to three times, or two subjects.
LAYERS = 3
PATTERNS = ("plain", "stripes", "dots", "gradient")
# A sprite is not put on a background into which this share of its ink would vanish.
VANISH_SHARE, VANISH_DISTANCE = 0.5, 80.0
# A tint shows on a sprite of which this share of the ink is coloured.
TINTABLE_SHARE, COLOURED_SATURATION = 0.6, 0.25
MIP_LEVELS = 4
# `visible` and `tintable` of every sprite, so that a worker process need not decode pictures.
TABLES_FILE = "tables.npz"
# Rows converted to float at a time on a CPU stay in cache; a GPU takes the batch whole.
CPU_CHUNK = 32


@dataclass(frozen=True)
class Atlas:
    """Every sprite as premultiplied RGBA mip levels; index = style * len(subjects()) + subject."""

    mips: tuple[Tensor, ...]  # uint8 (N, 4, side, side), side 256, 128, 64, 32; () = labels only
    subject_of: Ints  # (N,)
    style_of: Ints  # (N,)
    visible: Flags  # (N, backgrounds): enough of the ink differs from the background
    tintable: Flags  # (N,)

    @property
    def device(self) -> torch.device:
        """Where `render` paints."""
        return self.mips[0].device

    @property
    def sprites(self) -> Tensor:
        """The full-size sprites, uint8 (N, 256, 256, 4), premultiplied."""
        return self.mips[0].permute(0, 2, 3, 1)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", *, pixels: bool = True) -> Self:
        """Read the folder that `art.build` wrote (`data/pocket`, or the `atlas` inside it).

        Without `pixels` it comes at once and serves `scenes.sample`, but not `render`.
        Raises ValueError if the atlas was built from another list of subjects.
        """
        folder = folder / "atlas" if (folder / "atlas").is_dir() else folder
        manifest = json.loads((folder / "manifest.json").read_text())
        names = [subject.name for subject in subjects()]
        if manifest["subjects"] != names or manifest["styles"] != list(STYLES):
            message = f"{folder} holds another list of subjects: run `make data` again"
            raise ValueError(message)
        if not pixels:
            index = np.arange(len(STYLES) * len(names))
            tables = np.load(folder / TABLES_FILE)
            return cls(
                (), index % len(names), index // len(names), tables["visible"], tables["tintable"]
            )
        side, columns = manifest["sprite_px"], manifest["columns"]
        parts = [_cut(folder / f"{style}.webp", side, columns, len(names)) for style in STYLES]
        return cls.of(np.concatenate(parts), device)

    @classmethod
    def of(cls, sprites: NDArray[np.uint8], device: torch.device | str = "cpu") -> Self:
        """Build from straight-alpha sprites (styles * subjects, side, side, 4)."""
        index, count = np.arange(len(sprites)), len(subjects())
        small = sprites[:, 2::4, 2::4].astype(np.float32)
        mips = _mips(torch.from_numpy(sprites), torch.device(device))
        return cls(mips, index % count, index // count, _visible(small), _tintable(small))


@dataclass(frozen=True)
class Scenes:
    """A batch of specifications, one array row a scene; -1 = there is none."""

    subject1: Ints
    subject2: Ints
    style: Ints
    background: Ints
    background2: Ints  # second colour of a pattern; the background itself when plain
    pattern: Ints  # index into PATTERNS
    relation: Ints  # of subject1 to subject2, index into subjects.RELATIONS
    size: Ints  # index into captions.SIZES
    place: Ints  # index into captions.PLACES
    count: Ints  # copies of subject1
    tint: Ints  # index into TINTS, of subject1
    says_style: Flags
    says_background: Flags
    centre: Floats  # (B, LAYERS, 2) x in shares of the width, y of the height
    side: Floats  # (B, LAYERS) sprite side in shares of the shorter side; 0 = no sprite
    angle: Floats  # (B, LAYERS) radians
    flip: Flags  # (B, LAYERS)
    ground: Floats  # (B, 2, 3) jittered sRGB 0..1 of both background colours
    captions: list[str]

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.captions)

    def __getitem__(self, rows: slice) -> "Scenes":
        """Take a contiguous part of the batch."""
        return Scenes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Shape:
    """The sides of a picture in pixels."""

    width: int
    height: int

    @property
    def shorter(self) -> int:
        """What sprites are sized by."""
        return min(self.width, self.height)


def render(atlas: Atlas, scenes: Scenes, width: int, height: int | None = None) -> Tensor:
    """Paint (B, 3, height, width) float32 in [-1, 1] on the atlas's device; square by default.

    Sprites are sized by the shorter side and placed by shares of each side, so a scene that is
    right in a square is right in every shape.
    """
    shape = Shape(width, height or width)
    device = atlas.device
    chunk = CPU_CHUNK if device.type == "cpu" else max(1, len(scenes))
    parts = [
        _render(atlas, scenes[start : start + chunk], shape)
        for start in range(0, len(scenes), chunk)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, 3, shape.height, width, device=device)


def background(scenes: Scenes, shape: Shape, device: torch.device) -> Tensor:
    """The ground (B, 3, height, width) in 0..1; the second colour's weight makes the pattern."""
    ground = _to(scenes.ground, device)
    first, second = ground[:, 0, :, None, None], ground[:, 1, :, None, None]
    across, down = (
        torch.arange(side, device=device, dtype=torch.float32) + 0.5
        for side in (shape.width, shape.height)
    )
    unit = shape.shorter
    stripes = _edge(torch.sin(across / unit * 2 * torch.pi * 5) * unit / 32)
    waves = [torch.cos(axis / unit * 2 * torch.pi * 6) for axis in (down, across)]
    dots = _edge((waves[0][:, None] + waves[1][None] - 1.2) * unit / 32)
    fade = (down / shape.height)[:, None].expand_as(dots)
    masks = torch.stack([torch.zeros_like(dots), stripes.expand_as(dots), dots, fade])
    weight = masks.index_select(0, _to(scenes.pattern, device))[:, None]
    return first + (second - first) * weight


def _render(atlas: Atlas, scenes: Scenes, shape: Shape) -> Tensor:
    picture = background(scenes, shape, atlas.device)
    offset = scenes.style * len(subjects())
    for layer in range(LAYERS):
        subject = np.where((scenes.subject2 >= 0) & (layer == 1), scenes.subject2, scenes.subject1)
        present = scenes.side[:, layer] > 0
        shrink = atlas.mips[0].shape[-1] / np.maximum(scenes.side[:, layer] * shape.shorter, 1.0)
        # A little under one level too sharp beats a blur: bilinear sampling hides the rest.
        level = np.clip(np.floor(np.log2(shrink) + 0.25), 0, len(atlas.mips) - 1)
        tint = np.where(layer == 0, scenes.tint, np.where(scenes.subject2 >= 0, -1, scenes.tint))
        for mip in range(len(atlas.mips)):
            rows = np.flatnonzero(present & (level == mip))
            if len(rows):
                sprite = offset[rows] + subject[rows]
                ink = _place(atlas.mips[mip], sprite, scenes, rows, layer=layer, shape=shape)
                ink = _tinted(ink, tint[rows])
                index = _to(rows, atlas.device)
                below = picture.index_select(0, index)
                picture.index_copy_(0, index, ink[:, :3] + below * (1 - ink[:, 3:]))
    return picture * 2 - 1


def _place(
    mip: Tensor, sprite: Ints, scenes: Scenes, rows: Ints, *, layer: int, shape: Shape
) -> Tensor:
    """The sprites on transparent canvases: premultiplied RGBA (rows, 4, height, width) in 0..1."""
    side = scenes.side[rows, layer]
    turn = scenes.angle[rows, layer]
    mirror = np.where(scenes.flip[rows, layer], -1.0, 1.0)
    at = scenes.centre[rows, layer] * 2 - 1
    cos, sin = np.cos(turn) / side, np.sin(turn) / side
    theta = np.empty((len(rows), 2, 3), dtype=np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = mirror * cos, mirror * sin
    theta[:, 1, 0], theta[:, 1, 1] = -sin, cos
    # Shares of a longer side are more pixels than the same shares of the shorter one.
    theta[:, :, 0] *= shape.width / shape.shorter
    theta[:, :, 1] *= shape.height / shape.shorter
    theta[:, :, 2] = -(theta[:, :, :2] @ at[:, :, None])[:, :, 0]
    ink = mip.index_select(0, _to(sprite, mip.device)).float().mul_(1 / 255)
    canvas = [len(rows), 4, shape.height, shape.width]
    flow = functional.affine_grid(_to(theta, mip.device), canvas, align_corners=False)
    return functional.grid_sample(ink, flow, align_corners=False)


def _tinted(ink: Tensor, tint: Ints) -> Tensor:
    """Turn the hue of coloured ink; brightness and the share of grey stay (HSV's V and S)."""
    rows = np.flatnonzero(tint >= 0)
    if not len(rows):
        return ink
    index = _to(rows, ink.device)
    some = ink.index_select(0, index)
    value = some[:, :3].amax(1)
    floor = some[:, :3].amin(1)
    hue = np.asarray([TINTS[t][1] for t in tint[rows]], dtype=np.float32)
    ramp = np.abs((hue[:, None] + np.array([1.0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1
    pure = _to(np.clip(ramp, 0, 1).astype(np.float32), ink.device)[:, :, None, None]
    colour = floor[:, None] + (value - floor)[:, None] * pure
    return ink.index_copy(0, index, torch.cat([colour, some[:, 3:]], 1))


def _edge(distance: Tensor) -> Tensor:
    """A clean edge about one pixel wide where `distance` crosses zero."""
    return (distance + 0.5).clamp(0, 1)


def _to(array: NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _cut(path: Path, side: int, columns: int, count: int) -> NDArray[np.uint8]:
    """Cut a sheet into (count, side, side, 4)."""
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGBA"))
    rows = sheet.shape[0] // side
    cells = sheet.reshape(rows, side, columns, side, 4).swapaxes(1, 2)
    return cells.reshape(-1, side, side, 4)[:count]


def _mips(sprites: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Premultiply and halve by area, a few hundred sprites at a time to bound memory."""
    levels: list[list[Tensor]] = [[] for _ in range(MIP_LEVELS)]
    for part in torch.split(sprites, 256):
        ink = part.to(device).permute(0, 3, 1, 2).float()
        ink = torch.cat([ink[:, :3] * (ink[:, 3:] / 255), ink[:, 3:]], 1)
        for level in levels:
            level.append(ink.round().to(torch.uint8))
            ink = functional.avg_pool2d(ink, 2)
    return tuple(torch.cat(level) for level in levels)


def _visible(small: Floats) -> Flags:
    """Tell for each sprite and background whether most of the ink differs from the ground."""
    alpha = small[..., 3] > 127
    total = np.maximum(alpha.sum((1, 2)), 1)
    lost = [
        (alpha & (np.linalg.norm(small[..., :3] - colour.rgb, axis=-1) < VANISH_DISTANCE)).sum(
            (1, 2)
        )
        for colour in BACKGROUNDS
    ]
    return np.stack([share / total < VANISH_SHARE for share in lost], 1)


def _tintable(small: Floats) -> Flags:
    """Tell for each sprite whether most of its ink is coloured."""
    alpha = small[..., 3] > 127
    high, low = small[..., :3].max(-1), small[..., :3].min(-1)
    coloured = alpha & (high - low > COLOURED_SATURATION * np.maximum(high, 1)) & (high > 90)
    return np.asarray(coloured.sum((1, 2)) / np.maximum(alpha.sum((1, 2)), 1) > TINTABLE_SHARE)
