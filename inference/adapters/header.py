"""The header of a safetensors file: which tensors it says it holds. No torch, and nothing is run.

A safetensors file begins with a JSON list of its tensors and their places. Everything here is
checked before anybody trusts a number of it: the file may come from anywhere.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.adapters.refusal import AdapterRefused

FILE_BYTES_MAX = 2 * 2**30  # four times a LoRA of rank 64 on every layer of Krea 2, in 16 bits
HEADER_BYTES_MAX = 64 * 2**20  # the header of the largest model has a few megabytes
LENGTH_BYTES = 8  # the header's length stands before it, little-endian

BYTES_A_NUMBER = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}

# What a header that is none, or that is made to confuse, ends in: infinite shapes, endless nesting.
UNREADABLE = (
    ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError
)  # fmt: skip

# How files begin that torch.save or Python's pickle wrote; loading one can run a program.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    places: Mapping[str, tuple[int, int]]  # bytes from and to, counted behind the header
    metadata: Mapping[str, str] = field(default_factory=dict)
    body_bytes: int = 0


def read_header(path: Path) -> Header:
    """The header of any safetensors file. Raises AdapterRefused when there is none."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            fits = len(start) == LENGTH_BYTES and length <= min(HEADER_BYTES_MAX, size)
            written = file.read(length) if fits else b""
    except OSError as error:
        raise AdapterRefused("The LoRA file cannot be read: upload it again.") from error
    if start.startswith(_PICKLES):
        raise AdapterRefused(
            "This is a pickle (.pt, .bin, .ckpt), whatever its name says, and opening one can run "
            "a program. Save the LoRA as safetensors and try again."
        )
    try:
        if not fits:
            raise ValueError("no header")
        listed = json.loads(written, object_pairs_hook=_no_name_twice)
        metadata = dict(listed.pop("__metadata__", {}))
        return Header(
            shapes={name: tuple(map(int, entry["shape"])) for name, entry in listed.items()},
            dtypes={name: str(entry["dtype"]) for name, entry in listed.items()},
            places={name: _place(entry["data_offsets"]) for name, entry in listed.items()},
            metadata={str(name): str(value) for name, value in metadata.items()},
            body_bytes=size - LENGTH_BYTES - length,
        )
    except UNREADABLE as error:
        raise AdapterRefused(
            "This is not a whole safetensors file: save the LoRA as safetensors, or fetch it again."
        ) from error


def read_checked(path: Path) -> Header:
    """The header of a LoRA file, held against the file's size.

    Raises AdapterRefused for what is too large, cut off, or no list of floating-point numbers.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise AdapterRefused("The LoRA file is not there: upload it again.") from error
    if size > FILE_BYTES_MAX:
        raise AdapterRefused(
            f"The file has {size / 2**30:.1f} GiB; {FILE_BYTES_MAX / 2**30:.0f} GiB is the most "
            "that a LoRA may have. Save it in 16 bits or with a lower rank."
        )
    header = read_header(path)
    end = 0
    for name in sorted(header.places, key=lambda name: header.places[name]):
        width = BYTES_A_NUMBER.get(header.dtypes[name])
        if width is None:
            raise AdapterRefused(
                f"{name} is stored as {header.dtypes[name][:20]}: save the LoRA in floating point."
            )
        first, last = header.places[name]
        shape = header.shapes[name]
        if first != end or min((0, *shape)) < 0 or last - first != width * math.prod(shape):
            raise AdapterRefused("The list of tensors does not add up: save the LoRA again.")
        end = last
    if end != header.body_bytes:
        raise AdapterRefused("The file is cut off or has something behind it: fetch it again.")
    return header


def _no_name_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON keeps the last of two equal names in silence; which one was meant nobody knows."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _place(offsets: list[int]) -> tuple[int, int]:
    first, last = offsets
    return int(first), int(last)
