"""The model catalogue: every checkpoint the studio knows, with what the page and bill need of it.

A checkpoint is a folder in the weights folder or a hub id whose files are already on this machine;
nothing is downloaded here. Adding a model is adding a row. No torch.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from licensing.errors import AtelierError

_KREA_LICENCE = "Krea 2 Community License"
_KREA_LICENCE_URL = "https://krea.ai/krea-2-licensing"
_SIDE_STEP = 16  # see inference.request.SIDE_STEP
_PIXELS_1K = 1024 * 1024
# There, and not empty, on hosts with a GPU; containers may have the devices alone.
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")
_DEVICES = Path("/dev")


class ModelUnavailable(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The model is unknown, or nothing here can run it; `reason` says why."""

    code: ClassVar[str] = "model_unavailable"
    status: ClassVar[int] = 409

    def __init__(self, reason: str) -> None:
        """Use the reason as the message, and keep it for programs."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Size:
    """A size on offer: its aspect ratio as people say it, and its sides in pixels."""

    aspect: str
    width: int
    height: int


@dataclass(frozen=True)
class Model:
    """One checkpoint and how it is run."""

    id: str
    name: str
    source: str  # a folder under the weights folder, or "owner/name" on the hub
    worker_class: str  # which workers run it: one queue each
    steps: int
    guidance: float  # 0 means off: one forward pass a step instead of two
    distilled: bool
    side_min: int  # pixels
    side_max: int  # pixels
    pixels_max: int
    side_default: int  # pixels
    price_class: Literal["turbo", "raw"]
    licence: str
    licence_url: str
    needs_gpu: bool
    dtype: str  # of the computation, as torch spells it
    note: str  # one sentence for the person who chooses


CATALOGUE: tuple[Model, ...] = (
    Model(
        id="pocket-turbo",
        name="Pocket Turbo",
        source="pocket-turbo",
        worker_class="pocket",
        steps=8,
        guidance=0.0,
        distilled=True,
        side_min=128,
        side_max=512,
        pixels_max=512 * 512,
        side_default=256,
        price_class="turbo",
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        needs_gpu=False,
        dtype="float32",
        note="Quick, on any machine. Draws well in every shape of about 256 by 256 pixels.",
    ),
    Model(
        id="pocket-raw",
        name="Pocket Raw",
        source="pocket-raw",
        worker_class="pocket",
        steps=28,
        guidance=3.5,
        distilled=False,
        side_min=128,
        side_max=512,
        pixels_max=512 * 512,
        side_default=256,
        price_class="raw",
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        needs_gpu=False,
        dtype="float32",
        note="Undistilled and slower, made for training on. Draws well at about 256 by 256.",
    ),
    Model(
        id="krea-2-turbo",
        name="Krea 2 Turbo",
        source="krea/Krea-2-Turbo",
        worker_class="krea-2",
        steps=8,
        guidance=0.0,
        distilled=True,
        side_min=512,
        side_max=3136,  # 2.35:1 at 2K
        pixels_max=4 * _PIXELS_1K,
        side_default=1024,
        price_class="turbo",
        licence=_KREA_LICENCE,
        licence_url=_KREA_LICENCE_URL,
        needs_gpu=True,
        dtype="bfloat16",
        note="The full model in 8 steps, 1K to 2K. Needs its weights and a GPU.",
    ),
    Model(
        id="krea-2-raw",
        name="Krea 2 Raw",
        source="krea/Krea-2-Raw",
        worker_class="krea-2",
        steps=52,
        guidance=3.5,
        distilled=False,
        side_min=512,
        side_max=1600,
        pixels_max=_PIXELS_1K,
        side_default=1024,
        price_class="raw",
        licence=_KREA_LICENCE,
        licence_url=_KREA_LICENCE_URL,
        needs_gpu=True,
        dtype="bfloat16",
        note="The undistilled model, up to 1K in 52 steps. Needs its weights and a GPU.",
    ),
)

_ASPECTS: tuple[tuple[str, float], ...] = (
    ("1:1", 1.0),
    ("4:3", 4 / 3),
    ("3:2", 3 / 2),
    ("16:9", 16 / 9),
    ("2.35:1", 2.35),
    ("3:4", 3 / 4),
    ("4:5", 4 / 5),
    ("2:3", 2 / 3),
    ("9:16", 9 / 16),
)


def find(model_id: object) -> Model:
    """Return the catalogue's model. Raises `ModelUnavailable` for an id that it does not hold."""
    for model in CATALOGUE:
        if model.id == model_id:
            return model
    raise ModelUnavailable("This model is not in the studio's catalogue; choose one from the list.")


def name_of(model_id: str) -> str:
    """The name that people know a model by; the id itself for one that left the catalogue."""
    return next((model.name for model in CATALOGUE if model.id == model_id), model_id)


def sizes(model: Model, side: int | None = None) -> tuple[Size, ...]:
    """Return the sizes on offer, one an aspect ratio, all of about `side` squared pixels.

    `side` is the model's default side if not given; 2048 offers the 2K sizes of a 2K model.
    Sides are multiples of 16 and no size has more pixels than the square one.
    """
    area = (side or model.side_default) ** 2
    offered: dict[tuple[int, int], Size] = {}
    for aspect, ratio in _ASPECTS:
        size = _fit(aspect, ratio, area)
        sides = (size.width, size.height)
        if model.side_min <= min(sides) and max(sides) <= model.side_max:
            offered.setdefault(sides, size)  # small models round neighbours to the same sides
    return tuple(offered.values())


def _fit(aspect: str, ratio: float, area: int) -> Size:
    """Return the multiples of 16 nearest to `ratio` among those a little below `area` pixels."""

    def distance(size: Size) -> float:
        shape = abs(math.log(size.width / size.height / ratio))
        return 2 * shape + math.log(area / (size.width * size.height))

    step = _SIDE_STEP
    width, height = math.sqrt(area * ratio) / step, math.sqrt(area / ratio) / step
    around = (-1, 0, 1)
    near = [
        Size(aspect, (round(width) + i) * step, (round(height) + j) * step)
        for i in around
        for j in around
    ]
    return min((size for size in near if size.width * size.height <= area), key=distance)


def locate(model: Model, weights_folder: Path) -> Path | None:
    """Return the folder with the model's files: own weights first, then the hub's local cache."""
    own = weights_folder / model.source
    if (own / "model_index.json").is_file():
        return own
    if "/" not in model.source:
        return None
    cached = _hub_cache() / f"models--{model.source.replace('/', '--')}"
    revision = cached / "refs" / "main"
    if not revision.is_file():
        return None
    snapshot = cached / "snapshots" / revision.read_text().strip()
    return snapshot if (snapshot / "model_index.json").is_file() else None


def places(model: Model, weights_folder: Path) -> tuple[Path, ...]:
    """Return everywhere on this machine where files of the model can lie, there or not."""
    own = (weights_folder / model.id, weights_folder / model.source)
    if "/" not in model.source:
        return tuple(dict.fromkeys(own))
    cached = _hub_cache() / f"models--{model.source.replace('/', '--')}"
    return (*dict.fromkeys(own), cached)


def weights_problem(model: Model, weights_folder: Path) -> str | None:
    """Say in a sentence why this machine lacks the model's weights; None if they are here."""
    if locate(model, weights_folder) is not None:
        return None
    return (
        f"The weights of {model.name} are not on this machine: put them in "
        f"{weights_folder.name}/{model.source}."
    )


def problem(model: Model, weights_folder: Path) -> str | None:
    """Say in a sentence why this machine cannot run the model; None if it can."""
    if model.needs_gpu and not has_gpu():
        return f"{model.name} needs a GPU, and this machine has none."
    return weights_problem(model, weights_folder)


def has_gpu() -> bool:
    """Tell whether an NVIDIA driver serves a GPU here, without importing torch."""
    has_driver = _NVIDIA_DRIVER.is_dir() and any(_NVIDIA_DRIVER.iterdir())
    return has_driver or any(_DEVICES.glob("nvidia[0-9]*"))


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
