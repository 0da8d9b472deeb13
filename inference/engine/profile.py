"""How a model is run on the card that was found: in which precision, and what stays in its memory.

`choose` is arithmetic over sizes and loads no torch. What is exact comes first: everything in the
model's own precision, then 8-bit matrices, then the text encoder only visits the card, then the
blocks are streamed through it as well. When nothing fits, it says what would.
"""

from dataclasses import dataclass
from typing import Literal

from inference.models import Model, ModelUnavailable

Choice = Literal["auto", "bfloat16", "float8"]
CHOICES: tuple[Choice, ...] = ("auto", "bfloat16", "float8")
Precision = Literal["plain", "float8"]

GIB = 2**30
# Activations of a step and a decode at once; measured at 2,048 pixels, see docs/performance.md.
WORKING_BYTES_A_PIXEL = 1600
# The driver's own context, kernels, and what the allocator cannot use between blocks. With 1 GiB
# the smallest profile ran out of memory in 15.5 GiB.
OVERHEAD_BYTES = 3 * GIB // 2
SLOTS = 2  # blocks that are on the card in turns


@dataclass(frozen=True)
class Card:
    """A GPU: `memory_bytes` are those that nobody else uses."""

    name: str
    memory_bytes: int
    has_float8: bool


@dataclass(frozen=True)
class Weights:
    """How many numbers the parts of a checkpoint have."""

    blocks: int  # numbers in all repeated blocks
    block_count: int
    rest: int  # the transformer without its blocks
    text_encoder: int
    vae: int


@dataclass(frozen=True)
class Profile:
    """The decision: `resident_blocks` None means all of them."""

    precision: Precision
    encoder_stays: bool
    resident_blocks: int | None
    sentence: str  # for the operator, at start

    @property
    def overlaps(self) -> bool:
        """Whether stages of different jobs may run at once without running out of memory."""
        return self.encoder_stays


def choose(model: Model, weights: Weights, card: Card, choice: Choice = "auto") -> Profile:
    """The profile for `model` on `card`; "auto" takes 8 bits only where they are needed.

    Raises ModelUnavailable with the memory that is missing.
    """
    working = OVERHEAD_BYTES + model.pixels_max * WORKING_BYTES_A_PIXEL
    needed = []
    for profile in _candidates(weights, card, choice, working):
        bytes_needed = _bytes(weights, profile, working)
        if bytes_needed <= card.memory_bytes:
            return profile
        needed.append(bytes_needed)
    raise ModelUnavailable(
        f"{model.name} needs {_gib(min(needed))} of free GPU memory even in its smallest profile; "
        f"{card.name} has {_gib(card.memory_bytes)}."
    )


def _candidates(weights: Weights, card: Card, choice: Choice, working: int) -> list[Profile]:
    eight: Precision = "float8" if card.has_float8 and choice != "bfloat16" else "plain"
    profiles = [
        Profile("plain", True, None, "in its own precision, all of it on the card"),
        Profile("float8", True, None, "with 8-bit matrices, all of it on the card"),
        Profile("float8", False, None, "with 8-bit matrices; the text encoder visits the card"),
    ]
    if choice == "float8":
        profiles = profiles[1:]
    if eight == "plain":
        visits = Profile("plain", False, None, "in its own precision; the text encoder visits")
        profiles = [profiles[0], visits] if choice != "float8" else []
    return [*profiles, _streamed(weights, card, eight, working)]


def _streamed(weights: Weights, card: Card, precision: Precision, working: int) -> Profile:
    """As many blocks on the card as leave room for the text encoder's visit and two slots."""
    block = _block_bytes(weights, precision)
    fixed = 2 * (weights.rest + weights.vae) + _visit_bytes(weights, working)
    free = card.memory_bytes - fixed - SLOTS * block
    resident = max(0, min(weights.block_count, free // block))
    bits = "8-bit" if precision == "float8" else "16-bit"
    sentence = (
        f"with {bits} matrices; {resident} of {weights.block_count} blocks on the card, the others "
        "streamed from main memory"
    )
    return Profile(precision, False, resident, sentence)


def _bytes(weights: Weights, profile: Profile, working: int) -> int:
    block = _block_bytes(weights, profile.precision)
    if profile.resident_blocks is None:
        blocks = weights.block_count * block
    else:
        blocks = (profile.resident_blocks + SLOTS) * block
    fixed = 2 * (weights.rest + weights.vae) + blocks
    encoder = 2 * weights.text_encoder
    if profile.encoder_stays:
        return fixed + encoder + working
    return fixed + _visit_bytes(weights, working)


def _visit_bytes(weights: Weights, working: int) -> int:
    """What is needed beside the model: the text encoder while it visits, or a step and a decode."""
    return max(2 * weights.text_encoder + OVERHEAD_BYTES, working)


def _block_bytes(weights: Weights, precision: str) -> int:
    each = 1 if precision == "float8" else 2
    return each * weights.blocks // weights.block_count


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
