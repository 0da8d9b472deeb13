"""Known pictures are known again turned, mirrored and compressed; the index misses none of them."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.safety.pdq import DISTANCE_MAX, HashIndex, fingerprint


def scene(number: int, side: int = 300) -> Image.Image:
    """A soft random picture with enough in it to be told from others."""
    chance = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
    return Image.fromarray(chance).resize((side, side * 4 // 5), Image.Resampling.BICUBIC)


def distance(one: Image.Image, other: Image.Image) -> int:
    bits = np.bitwise_xor(fingerprint(one).orientations[0], fingerprint(other).orientations)
    return int(np.bitwise_count(bits).sum(1).min())


TURNS = list(Image.Transpose)


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name.lower())
def test_a_turned_compressed_copy_is_the_same_picture(turn: Image.Transpose) -> None:
    known = HashIndex(fingerprint(scene(1)).orientations[:1])
    file = io.BytesIO()
    scene(1).transpose(turn).resize((200, 200)).save(file, "JPEG", quality=60)
    found = fingerprint(Image.open(io.BytesIO(file.getvalue())))
    assert found.is_usable
    assert [row for row, _ in known.near(found.orientations)] == [0]


def test_other_pictures_are_far_away() -> None:
    assert min(distance(scene(1), scene(number)) for number in range(2, 12)) > DISTANCE_MAX + 30


@pytest.mark.parametrize("colour", ["white", "black", "teal"])
def test_a_plain_picture_is_not_matched(colour: str) -> None:
    assert not fingerprint(Image.new("RGB", (256, 256), colour)).is_usable


def test_the_index_finds_exactly_what_comparing_with_every_hash_finds() -> None:
    chance = np.random.default_rng(5)
    hashes = chance.integers(0, 256, (20_000, 32), np.uint8)
    wanted = chance.integers(0, 256, (8, 32), np.uint8)
    # Around each wanted one: hashes at every distance from 0 to 39, bits flipped anywhere.
    for number in range(320):
        bits = np.unpackbits(wanted[number % 8])
        bits[chance.choice(256, number // 8, replace=False)] ^= 1
        hashes[number * 50] = np.packbits(bits)
    every = np.bitwise_count(hashes[:, None] ^ wanted[None]).sum(2).min(1)
    expected = {row: int(far) for row, far in enumerate(every) if far <= DISTANCE_MAX}
    assert len(expected) == 8 * (DISTANCE_MAX + 1)
    found = HashIndex(hashes).near(wanted)
    assert dict(found) == expected
    assert [far for _, far in found] == sorted(expected.values())


def test_an_empty_list_and_a_list_of_one_answer() -> None:
    nothing = HashIndex(np.empty((0, 32), np.uint8))
    asked = fingerprint(scene(3)).orientations
    assert (len(nothing), nothing.near(asked)) == (0, [])
    assert HashIndex(asked[:1]).near(asked)[0] == (0, 0)
