"""Money is written and read without losing a micro."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.money import (
    AMOUNT_MICROS_MAX,
    InvalidAmount,
    cents_to_micros,
    checked,
    format_usd,
    parse_usd,
    plain_usd,
)


@pytest.mark.parametrize(
    ("amount_micros", "words"),
    [
        (0, "$0.00"),
        (15_000, "$0.015"),
        (1, "$0.000001"),
        (12_500_000, "$12.50"),
        (1_234_567_890_000, "$1,234,567.89"),
        (-15_000, "-$0.015"),
    ],
)
def test_amounts_are_shown_exactly(amount_micros: int, words: str) -> None:
    assert format_usd(amount_micros) == words


@pytest.mark.parametrize(
    ("words", "amount_micros"),
    [("25", 25_000_000), ("12.50", 12_500_000), (" $0.000001 ", 1), ("1000000", AMOUNT_MICROS_MAX)],
)
def test_amounts_are_read(words: str, amount_micros: int) -> None:
    assert parse_usd(words) == amount_micros


@pytest.mark.parametrize(
    "words",
    [
        "",
        "0",
        "0.00",
        "-5",
        "1,500",
        "1.0000001",
        "1e3",
        "NaN",
        "12.",
        "€5",
        "٣",
        "1000001",
        "9" * 40,
    ],
)
def test_words_that_mean_no_amount_are_refused(words: str) -> None:
    with pytest.raises(InvalidAmount):
        parse_usd(words)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MICROS_MAX + 1, 1.0, True])
def test_money_moves_by_whole_positive_micros_only(amount: int) -> None:
    with pytest.raises(InvalidAmount):
        checked(amount)


@given(st.integers(min_value=1, max_value=AMOUNT_MICROS_MAX))
def test_what_is_shown_can_be_read_back(amount_micros: int) -> None:
    assert parse_usd(format_usd(amount_micros).replace(",", "")) == amount_micros
    assert parse_usd(plain_usd(amount_micros)) == amount_micros


def test_cents_become_micros() -> None:
    assert cents_to_micros(1_050) == 10_500_000
