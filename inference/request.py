"""What somebody asks for: one frozen request, and the only way to build it from raw fields.

It crosses browser, API, database and worker unchanged. `parse` is pure; a refusal names the field
and the limit, so that the page can show it beside the widget. Called by `webapp.generate`.
"""

import hashlib
import json
import math
import re
import secrets
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from inference.models import Model
from licensing.errors import AtelierError

PROMPT_CHARACTERS_MAX = 2000  # about 500 tokens; the text encoder reads no more than 512
IMAGES_MAX = 4  # what the hosted models give for one press of the button, too
SEED_MAX = 2**32 - 1  # every generator takes 32 bits, and a person can still copy the number
PROJECT_CHARACTERS_MAX = 64  # a tag on a bill; a longer one no longer fits its column
SIDE_STEP = 16  # latents are an eighth of the pixels and are packed two by two
ADAPTERS_MAX = 4  # more of them only undo each other
STRENGTH_MAX = 2.0  # twice as strong as trained, either way; beyond it a picture is noise
STRENGTH_DECIMALS = 2  # what the page offers; finer ones cannot be seen
DIGITS_MAX = 20  # longer numbers are refused before they are read, and never repeated to anybody

# Lines and tabs, joiners and marks of direction, spaces: they show nothing by themselves.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


class InvalidRequest(AtelierError):  # noqa: N818 - reads as the answer that it is
    """One field cannot be used; `field` is its name."""

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 422

    def __init__(self, field: str, message: str) -> None:
        """Keep the name of the field beside the sentence."""
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class AdapterUse:
    """One LoRA of a request."""

    sha256: str  # of the file's bytes, 64 hex digits: names it in storage and in the record
    strength: float  # -2 to 2; 1 is as trained


@dataclass(frozen=True)
class GenerationRequest:
    """One press of the button. Picture `i` (from 0) uses seed `(seed + i) mod 2**32`."""

    prompt: str
    model: str
    width: int  # pixels
    height: int  # pixels
    images: int
    seed: int
    seed_chosen: bool = True  # False: we drew the seed, and a repeat of the request draws another
    adapters: tuple[AdapterUse, ...] = ()  # by SHA-256: their order does not change a picture


def parse(fields: Mapping[str, object], model: Model) -> GenerationRequest:
    """Build the request for `model` from untrusted `fields`.

    Fields: `prompt`, `width`, `height`, `images` (1), `seed` (drawn if missing or empty) and
    `adapters` (none): a list of {`lora`: SHA-256 in hex digits, `strength`: 1}, or that as JSON.
    Numbers may come as int, as a float without fraction (as browsers send them) or as digits.
    Raises `InvalidRequest` with the name of the first field that cannot be used.
    """
    prompt = _prompt(fields.get("prompt"))
    width, height = _size(fields, model)
    of_images = InvalidRequest("images", f"Ask for 1 to {IMAGES_MAX} pictures at a time.")
    images = _whole(fields.get("images", 1), "The number of pictures", of_images)
    if not 1 <= images <= IMAGES_MAX:
        raise of_images
    given = fields.get("seed")
    seed_chosen = given is not None and given != ""
    of_seed = InvalidRequest("seed", f"The seed must lie between 0 and {SEED_MAX}.")
    seed = _whole(given, "The seed", of_seed) if seed_chosen else secrets.randbelow(SEED_MAX + 1)
    if not 0 <= seed <= SEED_MAX:
        raise of_seed
    return GenerationRequest(
        prompt=prompt,
        model=model.id,
        width=width,
        height=height,
        images=images,
        seed=seed,
        seed_chosen=seed_chosen,
        adapters=_adapters(fields),
    )


def parse_project(fields: Mapping[str, object]) -> str | None:
    """Read the optional field `project`, a tag for the bill; empty means none.

    Runs of space become one and look-alike encodings the same (NFC), so that one project is not
    two on a bill. Raises `InvalidRequest`.
    """
    value = fields.get("project")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest("project", "The project must be text.")
    project = unicodedata.normalize("NFC", " ".join((value or "").split()))
    if len(project) > PROJECT_CHARACTERS_MAX:
        raise InvalidRequest(
            "project",
            f"The project has {len(project):,} characters; {PROJECT_CHARACTERS_MAX} is the limit.",
        )
    if not project.isprintable():
        raise InvalidRequest("project", "The project contains characters that cannot be seen.")
    return project or None


def adapter_choices(fields: Mapping[str, object]) -> list[tuple[str, float]]:
    """Read the field `adapters`: what each LoRA was called, and its strength.

    The page sends the list as text, since a form knows nothing else. Raises `InvalidRequest`.
    """
    given = fields.get("adapters")
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError:
            given = ()  # no list: refused below
    if given is None or given == "":
        return []
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise InvalidRequest("adapters", "LoRAs come as a list of {lora, strength}.")
    if len(given) > ADAPTERS_MAX:
        raise InvalidRequest(
            "adapters", f"A picture takes at most {ADAPTERS_MAX} LoRAs; {len(given)} were chosen."
        )
    return [(_named(one.get("lora")), _strength(one.get("strength", 1))) for one in given]


def picture_seed(request: GenerationRequest, index: int) -> int:
    """Return the seed of picture `index` (from 0), as the model's own code counts them."""
    return (request.seed + index) % (SEED_MAX + 1)


def as_json(request: GenerationRequest) -> dict[str, Any]:
    """Return the request as the JSON object that the row keeps.

    Without LoRAs it is what it was before there were any, so that old rows and hashes stay true.
    """
    stored = asdict(request)
    if not request.adapters:
        del stored["adapters"]
    return stored


def from_json(stored: Mapping[str, Any]) -> GenerationRequest:
    """Read back what `as_json` wrote."""
    adapters = tuple(AdapterUse(**use) for use in stored.get("adapters", ()))
    return GenerationRequest(**{**stored, "adapters": adapters})


def input_hash(request: GenerationRequest) -> str:
    """Return a SHA-256 over what the person chose; a seed that we drew is left out.

    A double click sends the same choices twice under one key, and each copy draws its own seed.
    """
    chosen = as_json(request)
    if not request.seed_chosen:
        del chosen["seed"]
    canonical = json.dumps(chosen, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _prompt(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest("prompt", "The prompt must be text.")
    prompt = (value or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    if not prompt:
        raise InvalidRequest("prompt", "Write a prompt first: say what the picture should show.")
    if len(prompt) > PROMPT_CHARACTERS_MAX:
        raise InvalidRequest(
            "prompt",
            f"The prompt has {len(prompt):,} characters; {PROMPT_CHARACTERS_MAX:,} is the limit.",
        )
    # Cc: controls (NUL among them, which PostgreSQL cannot store). Cs: lone halves of characters.
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t" for c in prompt):
        raise InvalidRequest(
            "prompt", "The prompt contains control characters; type it or paste it as plain text."
        )
    if all(unicodedata.category(c) in _UNSEEN for c in prompt):
        raise InvalidRequest("prompt", "This prompt has no character that can be seen.")
    return prompt


def _adapters(fields: Mapping[str, object]) -> tuple[AdapterUse, ...]:
    uses = [AdapterUse(name, strength) for name, strength in adapter_choices(fields)]
    if not all(_SHA256.fullmatch(use.sha256) for use in uses):
        raise InvalidRequest("adapters", "A LoRA is named by its id or its SHA-256.")
    if len({use.sha256 for use in uses}) < len(uses):
        raise InvalidRequest("adapters", "The same LoRA is chosen twice; set one strength for it.")
    return tuple(sorted(uses, key=lambda use: use.sha256))


def _named(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest("adapters", "A LoRA is named by its id or its SHA-256.")
    return value.strip().lower()


def _strength(value: object) -> float:
    """Return a strength in the steps that are offered; never -0, which hashes like another."""
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= DIGITS_MAX:
        with suppress(ValueError):
            number = float(value)
    if -STRENGTH_MAX <= number <= STRENGTH_MAX:  # false for NaN, too
        return round(float(number), STRENGTH_DECIMALS) + 0.0
    raise InvalidRequest(
        "adapters",
        f"The strength of a LoRA is a number from -{STRENGTH_MAX:g} to {STRENGTH_MAX:g}.",
    )


def _size(fields: Mapping[str, object], model: Model) -> tuple[int, int]:
    limits = f"{model.name} makes pictures of {model.side_min} to {model.side_max} pixels a side"
    width, height = (
        _whole(
            fields.get(field, model.side_default),
            f"The {field}",
            InvalidRequest(field, f"{limits}; the {field} asked for is far beyond."),
        )
        for field in ("width", "height")
    )
    for field, side in (("width", width), ("height", height)):
        if not model.side_min <= side <= model.side_max:
            raise InvalidRequest(field, f"{limits}; the {field} asked for is {side}.")
        if side % SIDE_STEP:
            lower = side - side % SIDE_STEP
            raise InvalidRequest(
                field,
                f"The {field} must be a multiple of {SIDE_STEP}; "
                f"the nearest to {side} are {lower} and {lower + SIDE_STEP}.",
            )
    if width * height > model.pixels_max:
        raise InvalidRequest(
            "width",
            f"{width} x {height} is {width * height:,} pixels; {model.name} makes at most "
            f"{model.pixels_max:,}.",
        )
    return width, height


def _whole(value: object, name: str, beyond: InvalidRequest) -> int:
    """Return `value` as int if it is a whole number and nothing else.

    Raises `beyond`, the field's own words about its limits, for one too long to be read.
    """
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 10**DIGITS_MAX:
            return value
        raise beyond
    if isinstance(value, str):
        digits = value.strip()
        if digits.removeprefix("-").isdecimal() and digits.isascii():
            if len(digits) <= DIGITS_MAX:
                return int(digits)
            raise beyond
    raise InvalidRequest(beyond.field, f"{name} must be a whole number.")
