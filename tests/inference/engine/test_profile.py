"""Which way a model of Krea 2's size is run on the cards that people have."""

import pytest

from inference import models
from inference.engine.profile import GIB, Card, Choice, Weights, choose
from inference.models import ModelUnavailable

TURBO = models.find("krea-2-turbo")
WEIGHTS = Weights(
    blocks=12_156_000_000,
    block_count=28,
    rest=664_000_000,
    text_encoder=4_022_000_000,
    vae=127_000_000,
)


def card(gib: int, *, has_float8: bool = True) -> Card:
    return Card("the card", int(gib * 0.98 * GIB), has_float8)


@pytest.mark.parametrize(
    ("gib", "precision", "encoder_stays", "streams"),
    [
        (141, "plain", True, False),
        (48, "plain", True, False),
        (32, "float8", True, False),
        (24, "float8", False, False),
        (16, "float8", False, True),
    ],
)
def test_what_is_exact_comes_first_and_then_what_fits(
    gib: int, precision: str, *, encoder_stays: bool, streams: bool
) -> None:
    profile = choose(TURBO, WEIGHTS, card(gib))
    assert profile.precision == precision
    assert profile.encoder_stays == encoder_stays
    assert (profile.resident_blocks is not None) == streams
    assert profile.overlaps == encoder_stays


def test_the_operator_may_ask_for_8_bits_on_a_large_card() -> None:
    assert choose(TURBO, WEIGHTS, card(141), "float8").precision == "float8"


@pytest.mark.parametrize("choice", ["auto", "bfloat16"])
def test_a_card_without_8_bit_products_streams_blocks_of_16(choice: Choice) -> None:
    profile = choose(TURBO, WEIGHTS, card(24, has_float8=False), choice)
    assert profile.precision == "plain"
    assert profile.resident_blocks is not None
    assert 0 < profile.resident_blocks < WEIGHTS.block_count


def test_a_card_that_is_too_small_is_refused_with_what_would_do() -> None:
    with pytest.raises(ModelUnavailable, match=r"needs \d+\.\d GiB .* the card has 7\.8 GiB"):
        choose(TURBO, WEIGHTS, card(8))
