"""Canonical JSON: one value, one text, whoever writes it, so that a hash of it means something.

The rules are those of RFC 8785: members sorted by UTF-16 code units, no white space, strings with
the fewest escapes, numbers as ECMAScript prints them. `plain` brings what a database row holds
(identifiers, times, bytes) into JSON first. Pure; knows nothing of links or rows.
"""

import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

INTEGER_SAFE_MAX = 2**53 - 1  # beyond it JSON numbers of other languages lose digits
# ECMAScript writes a number without an exponent from 1e-6 up to below 1e21.
POINT_MIN, POINT_MAX = -6, 21


class NotCanonical(ValueError):  # noqa: N818 - says what the value is
    """The value has no canonical form: an unpaired surrogate, not-a-number, a type unknown here."""


def canonical(value: Any) -> bytes:
    """The UTF-8 text of a JSON value. Raises `NotCanonical`."""
    return _text(value).encode("utf-8")


def plain(value: Any) -> Any:
    """A column's value as JSON: times in UTC with microseconds, bytes in hexadecimal.

    Integers that a JSON number cannot hold exactly become strings of their digits. Raises
    `NotCanonical` for a time without a zone and for types that no logged column has.
    """
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    raise NotCanonical(f"a value of type {type(value).__name__} has no canonical form")


def _same(value: Any) -> Any:
    return value


def _integer(value: int) -> int | str:
    return value if abs(value) <= INTEGER_SAFE_MAX else str(value)


def _members(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): plain(part) for name, part in value.items()}


def _items(value: Sequence[Any]) -> list[Any]:
    return [plain(part) for part in value]


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise NotCanonical("a time without a zone could be any time")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# The first that fits: a bool is an int too, and a time of day a date.
_CONVERSIONS: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((type(None), str, bool, float), _same),
    ((int,), _integer),
    ((datetime,), _moment),
    ((date,), date.isoformat),
    ((uuid.UUID,), str),
    ((bytes,), bytes.hex),
    ((Mapping,), _members),
    ((list, tuple), _items),
)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        members = sorted(value.items(), key=lambda member: _units(member[0]))
        return "{" + ",".join(f"{_string(name)}:{_text(part)}" for name, part in members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(part) for part in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) <= INTEGER_SAFE_MAX:
        return str(value)
    if isinstance(value, float):
        return _number(value)
    raise NotCanonical(f"{type(value).__name__} {value!r:.40} has no canonical form")


def _string(value: str) -> str:
    _units(value)  # refuses an unpaired surrogate
    return json.dumps(value, ensure_ascii=False)


def _units(name: Any) -> bytes:
    """What names are sorted by. Big-endian bytes compare as UTF-16 code units do."""
    if not isinstance(name, str):
        raise NotCanonical("a member's name is a string")
    try:
        return name.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise NotCanonical("an unpaired surrogate has no canonical form") from error


def _number(value: float) -> str:
    """As ECMAScript's Number::toString prints it; Python finds the same shortest digits."""
    if not math.isfinite(value):
        raise NotCanonical("JSON has no infinity and no not-a-number")
    if value == 0:
        return "0"  # minus zero as well
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the power of `point`.
    point = len(whole.lstrip("0")) + int(exponent or 0)
    if not whole.strip("0"):
        point -= len(fraction) - len(fraction.lstrip("0"))
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    if POINT_MIN < point <= 0:
        return "0." + "0" * -point + digits
    if 0 < point <= POINT_MAX:
        whole, fraction = digits[:point].ljust(point, "0"), digits[point:]
        return f"{whole}.{fraction}" if fraction else whole
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"
