"""Canonical JSON: the examples of RFC 8785, and what a database row may hold."""

import json
import struct
import uuid
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from licensing.chain.canonical import NotCanonical, canonical, plain


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
        (0x44B52D02C7E14AF6, "1e+23"),
        (0x444B1AE4D6E2EF4E, "999999999999999700000"),
        (0x444B1AE4D6E2EF50, "1e+21"),
        (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"),
        (0x41B3DE4355555553, "333333333.3333332"),
        (0xBECBF647612F3696, "-0.0000033333333333333333"),
        (0x43143FF3C1CB0959, "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_standard_lists_them(bits: int, text: str) -> None:
    (value,) = struct.unpack(">d", bits.to_bytes(8))
    assert canonical(value) == text.encode()


def test_the_standard_s_whole_example() -> None:
    given = json.loads(
        r'{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        r' "string": "\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/",'
        r' "literals": [null, true, false]}'
    )
    assert canonical(given).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_members_are_sorted_by_utf_16_code_units() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    written = canonical(dict.fromkeys(names, 1)).decode()
    assert list(json.loads(written)) == ordered


def test_composed_and_decomposed_letters_stay_what_they_are() -> None:
    assert canonical("\u00e9") != canonical("e\u0301")


def test_one_moment_has_one_text() -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 120, UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert plain(moment) == plain(elsewhere) == "2026-03-29T01:30:00.000120Z"
    assert plain(date(2026, 3, 29)) == "2026-03-29"


def test_a_row_s_values_become_json() -> None:
    given = {"id": uuid.UUID(int=7), "pdq": b"\x00\xff", "big": 2**63 - 1, "list": ["a", None]}
    assert canonical(plain(given)) == (
        b'{"big":"9223372036854775807","id":"00000000-0000-0000-0000-000000000007",'
        b'"list":["a",null],"pdq":"00ff"}'
    )


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", 2**53, {1: 2}, object(), {"a": {1, 2}}]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(NotCanonical):
        plain(datetime(2026, 1, 1))  # noqa: DTZ001 - the point
