"""`atelier render`: a picture from a prompt to a file, without database, broker or network.

The same engine, prompt rules, output filter and metadata as in the worker; nothing is charged, and
nothing is recorded but the file itself. For the person at the machine: to try a checkpoint, to
script, to see whether an installation works. Called by the command line alone.
"""

import hashlib
import importlib
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference import models
from inference.adapters import AdapterRefused, inspect
from inference.engine import Engine, StepProgress
from inference.models import Model
from inference.prompt_step import PromptStopped
from inference.provenance.papers import open_papers
from inference.provenance.stamp import Origin, stamp
from inference.request import GenerationRequest, parse, picture_seed
from inference.safety import prompt
from inference.safety.filters import chosen
from inference.settings import papers_folder
from licensing import moderation
from licensing.errors import AtelierError

Say = Callable[[str], None]


class PictureRefused(AtelierError):  # noqa: N818 - reads as the outcome that it is
    """The output filter blocked every picture; no file was written."""

    code = "picture_refused"
    status = 422


class NotWritable(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file cannot be written where it was asked for."""

    code = "not_writable"
    status = 422


@dataclass(frozen=True)
class LoraFile:
    """A LoRA as it is named on the command line."""

    path: Path
    strength: float = 1.0

    @classmethod
    def parse(cls, written: str) -> "LoraFile":
        """Read `FILE` or `FILE:STRENGTH`; a colon that no number follows belongs to the name."""
        path, _, strength = written.rpartition(":")
        try:
            return cls(Path(path), float(strength)) if path else cls(Path(written))
        except ValueError:
            return cls(Path(written))


@dataclass(frozen=True)
class RenderOrder:
    """What was asked for on the command line; None takes the model's side, or draws a seed."""

    prompt: str
    model: str
    out: Path
    weights_folder: Path
    state_folder: Path
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    images: int = 1
    loras: tuple[LoraFile, ...] = ()


def render_to_files(order: RenderOrder, say: Say) -> list[Path]:
    """Draw, judge, stamp and write; return the files written, in order.

    Files are PNG whatever their ending says. Several pictures get a number before the ending:
    `apple-1.png`, `apple-2.png`. `say` receives short sentences on the way.

    Raises AtelierError with the reason: a field out of range, a refused prompt, LoRA or picture,
    missing weights or filter, not enough memory, no place to write.
    """
    model = models.find(order.model)
    hashes = [_hash(lora.path) for lora in order.loras]
    request = _parse(order, model, hashes)
    verdict = moderation.check_prompt(request.prompt)
    if verdict.action == "block":
        raise moderation.PromptRefused(verdict)
    _check_folder(order.out)
    _check_loras(order, model)
    # Before the work, not after it: without a filter there will be no picture.
    prompt_filter, output_filter = prompt.chosen(), chosen()
    prompt_filter.load()
    output_filter.load()
    judged = prompt_filter.check(request.prompt)
    if judged.action == "block":
        raise PromptStopped(judged)
    papers = open_papers(papers_folder(order.state_folder))
    with tempfile.TemporaryDirectory() as named_by_hash:
        for sha256, lora in zip(hashes, order.loras, strict=True):
            (Path(named_by_hash) / f"{sha256}.safetensors").symlink_to(lora.path.resolve())
        engine = _engine(order.weights_folder, Path(named_by_hash))
        engine.load(model, say)
        pictures = engine.render(request, model, _progress(say), lambda: False)
    written = []
    for index, picture in enumerate(pictures):
        if output_filter.check(picture).action == "block":
            say(f"The output filter blocked picture {index + 1}; it was not written.")
            continue
        seed = picture_seed(request, index)
        origin = Origin(model, str(uuid.uuid4()), seed, engine.build, request.adapters)
        path = _path(order.out, index, request.images)
        _write(path, stamp(picture, origin, papers).original)
        say(f"Wrote {path} (seed {seed}).")
        written.append(path)
    if not written:
        raise PictureRefused("The output filter blocked what the model made; try another prompt.")
    return written


def _parse(order: RenderOrder, model: Model, hashes: list[str]) -> GenerationRequest:
    given = {
        "prompt": order.prompt,
        "images": order.images,
        "seed": order.seed,
        "width": order.width,
        "height": order.height,
        "adapters": [
            {"lora": sha256, "strength": lora.strength}
            for sha256, lora in zip(hashes, order.loras, strict=True)
        ],
    }
    return parse({name: value for name, value in given.items() if value is not None}, model)


def _hash(lora: Path) -> str:
    try:
        with lora.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AdapterRefused(f"{lora} cannot be read: {error.strerror}.") from error


def _check_loras(order: RenderOrder, model: Model) -> None:
    """Refuse before the model is loaded what it could not draw with."""
    folder = models.locate(model, order.weights_folder)
    if folder is not None:  # otherwise the engine says what is missing
        for lora in order.loras:
            inspect(lora.path, folder)


def _engine(weights_folder: Path, adapters_folder: Path) -> Engine:
    # Imported here: it takes seconds, and a refused prompt should not wait for it.
    module = importlib.import_module("inference.engine.render")
    engine: Engine = module.PipelineEngine(weights_folder, adapters_folder=adapters_folder)
    return engine


def _progress(say: Say) -> Callable[[StepProgress], None]:
    def on_step(progress: StepProgress) -> None:
        say(f"Step {progress.step} of {progress.steps}.")

    return on_step


def _check_folder(out: Path) -> None:
    if out.is_dir():
        raise NotWritable(f"{out} is a folder; name the file to write, such as {out / 'a.png'}.")
    if not out.parent.is_dir():
        raise NotWritable(f"The folder {out.parent} does not exist; create it first.")


def _path(out: Path, index: int, images: int) -> Path:
    return out if images == 1 else out.with_name(f"{out.stem}-{index + 1}{out.suffix}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise NotWritable(f"{path} cannot be written: {error.strerror}.") from error
