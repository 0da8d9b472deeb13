"""Scenes redrawn as black line drawings by edge and threshold: the judge's practice for new hands.

The art holds one line drawing of each subject, and a judge that knows only that one takes every
other drawing of the same thing for something else. Outlines and dark areas of *all* styles, in
strokes of chance width, are further drawings of it. Training alone uses them; no model and no
score ever sees one.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inference.training.paint import Flags, Scenes, Shape, background
from inference.training.subjects import BACKGROUNDS, LORA_STYLE

# Ink is drawn where colour changes by more than this (of 2 from black to white), chosen by chance.
EDGE_RANGE = (0.15, 0.5)
# Parts darker than this become solid ink, in half of the pictures; -1 is black.
DARK_RANGE = (-0.9, 0.1)
SOLID_SHARE, SILHOUETTE_SHARE = 0.5, 0.15


def drawable(scenes: Scenes) -> Flags:
    """Tell which scenes can be redrawn: not line drawings yet, on plain grounds that show ink."""
    black = [colour.name for colour in BACKGROUNDS].index("black")
    plain = (scenes.pattern == 0) & (scenes.background != black)
    return np.asarray(plain & (scenes.style != LORA_STYLE))


def redraw(pictures: Tensor, scenes: Scenes, generator: torch.Generator) -> Tensor:
    """Black line drawings (B, 3, H, W) of painted scenes in [-1, 1]; each row by chance of its own.

    Strokes follow every change of colour; half of the pictures fill dark parts, and some are
    silhouettes with the strokes left open.
    """
    device, count = pictures.device, len(pictures)
    shape = Shape(pictures.shape[-1], pictures.shape[-2])
    ground = background(scenes, shape, device) * 2 - 1

    def chance(low: float, high: float) -> Tensor:
        drawn = torch.rand(count, 1, 1, 1, generator=generator, device=device)
        return low + (high - low) * drawn

    strokes = ((_slope(pictures) - chance(*EDGE_RANGE)) * 6).clamp(0, 1)
    width = chance(0, 1)
    broad = functional.max_pool2d(strokes, 3, 1, 1)
    strokes = torch.where(width > 0.4, broad, strokes)
    strokes = torch.where(width > 0.8, functional.max_pool2d(broad, 3, 1, 1), strokes)
    inside = ((pictures - ground).abs().amax(1, keepdim=True) > 0.12).float()
    dark = inside * (pictures.mean(1, keepdim=True) < chance(*DARK_RANGE))
    ink = torch.where(chance(0, 1) < SOLID_SHARE, torch.maximum(strokes, dark), strokes)
    silhouette = inside * (1 - strokes)
    ink = torch.where(chance(0, 1) < SILHOUETTE_SHARE, silhouette, ink)
    return ground + (chance(-1.0, -0.8) - ground) * ink


def _slope(pictures: Tensor) -> Tensor:
    """The steepest change of any colour at each pixel (B, 1, H, W), by Sobel's filter."""
    rows = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    kernel = torch.stack([rows, rows.T]).to(pictures.device)[:, None].repeat(3, 1, 1, 1)
    edged = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    slopes = functional.conv2d(edged, kernel, groups=3)
    across, down = slopes[:, 0::2], slopes[:, 1::2]
    return torch.hypot(across, down).amax(1, keepdim=True)
