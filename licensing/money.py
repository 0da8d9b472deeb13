"""Microdollars to words and back, exactly: the one file that knows a cent and a decimal point.

An amount is an `int` of millionths of a US dollar everywhere else. No float and no Decimal: every
conversion here is integer arithmetic, so that what a page shows is what the ledger holds.
"""

import re

from licensing.errors import AtelierError

MICROS_PER_USD = 1_000_000
MICROS_PER_CENT = 10_000
AMOUNT_MICROS_MAX = 1_000_000 * MICROS_PER_USD  # a million dollars: more is a typing error

_DECIMAL = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?", re.ASCII)


class InvalidAmount(AtelierError):  # noqa: N818 - reads as the answer that it is
    """An amount of money that cannot be meant: negative, zero, fractional micros, or absurd."""

    code = "invalid_amount"
    status = 422


def format_usd(amount_micros: int) -> str:
    """Write an amount as `$12.50`: two decimals at least, six at most, never rounded."""
    sign = "-" if amount_micros < 0 else ""
    dollars, micros = divmod(abs(amount_micros), MICROS_PER_USD)
    decimals = f"{micros:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars:,}.{decimals}"


def plain_usd(amount_micros: int) -> str:
    """Write an amount for files: `12.500000`, always six decimals, no sign of currency."""
    sign = "-" if amount_micros < 0 else ""
    dollars, micros = divmod(abs(amount_micros), MICROS_PER_USD)
    return f"{sign}{dollars}.{micros:06d}"


def parse_usd(words: str) -> int:
    """Read `12.50`, `$12.50` or `12` as micros; raises `InvalidAmount` for anything else.

    A comma is refused, because `1,500` means different sums to different readers.
    """
    return checked(read_usd(words))


def parse_limit_usd(words: str) -> int:
    """Read an upper limit as `parse_usd` reads an amount; it may be 0, which lets nothing through.

    Raises `InvalidAmount`.
    """
    amount_micros = read_usd(words)
    return checked(amount_micros) if amount_micros else 0


def cents_to_micros(amount_cents: int) -> int:
    """Convert whole cents, as payment providers count them, to micros."""
    return amount_cents * MICROS_PER_CENT


def read_usd(words: str) -> int:
    """Read an amount as `parse_usd` does, up to a billion and down to 0.

    For whoever holds it against limits of their own and says those. Raises `InvalidAmount`.
    """
    match = _DECIMAL.fullmatch(words.strip().removeprefix("$"))
    if match is None:
        raise InvalidAmount(
            "Write the amount in US dollars, with a point: for example 25 or 12.50."
        )
    dollars, decimals = match.groups()
    return int(dollars) * MICROS_PER_USD + int((decimals or "").ljust(6, "0"))


def checked(amount_micros: int) -> int:
    """Return the amount if money may move by it: an `int` from 1 to `AMOUNT_MICROS_MAX`.

    Raises `InvalidAmount` otherwise; `True` and `1.0` are no amounts.
    """
    if type(amount_micros) is not int:
        raise InvalidAmount("An amount is a whole number of millionths of a dollar.")
    if not 1 <= amount_micros <= AMOUNT_MICROS_MAX:
        raise InvalidAmount(
            f"The amount must be more than $0 and at most {format_usd(AMOUNT_MICROS_MAX)}."
        )
    return amount_micros
