"""Quotes follow the list in force, and a list is added and never edited."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from licensing import price_files, prices
from licensing.db import Database, now
from licensing.errors import Conflict
from licensing.price_files import InvalidPriceFile
from licensing.prices import Family, PriceList, Quote, References

FIRST = price_files.shipped()
SOURCE = (Path(prices.__file__).parent / "texts" / "prices.toml").read_text("utf-8")


def quoted(database: Database, at: datetime | None = None) -> Quote:
    with database.read() as session:
        return prices.quote(session, "turbo", width=1024, height=1024, images=1, at=at)


def dearer(id_: str, times: int = 2) -> PriceList:
    micros = {name: times * price for name, price in FIRST.listed.per_image_micros.items()}
    return PriceList(id=id_, per_image_micros=micros, sizes=FIRST.listed.sizes)


def add(database: Database, listed: PriceList, effective_at: datetime) -> None:
    with database.transaction() as session:
        prices.add_version(session, listed, effective_at=effective_at, note="dearer power")


def test_a_turbo_picture_costs_one_and_a_half_cents(database: Database) -> None:
    assert quoted(database) == Quote(15_000, 15_000, 1, "2026-11", "turbo")


@pytest.mark.parametrize(
    ("family", "references", "micros"),
    [
        ("turbo", "none", 15_000),
        ("turbo", "style", 17_500),
        ("turbo", "moodboard", 20_000),
        ("raw", "none", 30_000),
        ("raw", "style", 35_000),
        ("raw", "moodboard", 40_000),
    ],
)
def test_references_have_their_price(family: Family, references: References, micros: int) -> None:
    square = {"width": 1024, "height": 1024, "images": 1}
    found = prices.price(FIRST.listed, family, references=references, **square)
    suffix = "" if references == "none" else f"_{references}"
    assert (found.total_micros, found.price_class) == (micros, f"{family}{suffix}")


@pytest.mark.parametrize(
    ("side", "images", "micros"), [(1024, 4, 60_000), (1536, 1, 30_000), (2048, 2, 120_000)]
)
def test_images_and_size_multiply(side: int, images: int, micros: int) -> None:
    found = prices.price(FIRST.listed, "turbo", width=side, height=side, images=images)
    assert found.total_micros == micros == found.images * found.per_image_micros


@pytest.mark.parametrize(("width", "height"), [(128, 128), (1344, 784), (832, 1280), (2048, 512)])
def test_every_shape_of_the_smallest_size_class_costs_the_same(width: int, height: int) -> None:
    found = prices.price(FIRST.listed, "turbo", width=width, height=height, images=1)
    assert found.total_micros == 15_000


@pytest.mark.parametrize(
    ("width", "height", "images"), [(1024, 1024, 0), (4096, 4096, 1), (0, 16, 1), (1024, 1024, -1)]
)
def test_what_no_request_contains_has_no_price(width: int, height: int, images: int) -> None:
    with pytest.raises(ValueError, match="no price for"):
        prices.price(FIRST.listed, "turbo", width=width, height=height, images=images)


def test_before_the_first_list_there_is_no_price(database: Database) -> None:
    with pytest.raises(ValueError, match="no price list was in force"):
        quoted(database, FIRST.effective_at - timedelta(microseconds=1))


def test_the_list_of_the_release_is_the_one_in_the_database(database: Database) -> None:
    with database.read() as session:
        (row,) = prices.versions(session)
        assert prices.in_force(session) == FIRST.listed
    assert (row.effective_at, row.note) == (FIRST.effective_at, FIRST.note)


def test_a_new_list_changes_quotes_from_its_moment_on(database: Database) -> None:
    changeover = now() + timedelta(days=1)
    add(database, dearer("2027-01"), changeover)
    assert quoted(database).price_version == "2026-11"
    assert quoted(database, changeover - timedelta(microseconds=1)).total_micros == 15_000
    assert quoted(database, changeover) == Quote(30_000, 30_000, 1, "2027-01", "turbo")
    assert quoted(database, now()).price_version == "2026-11", "the past keeps its price"


def test_the_clock_of_the_database_puts_a_list_in_force(database: Database) -> None:
    changeover = now() + timedelta(milliseconds=150)
    add(database, dearer("soon", times=3), changeover)
    with database.read() as session:
        session.execute(text("SELECT pg_sleep_until(:at)"), {"at": changeover})
    assert quoted(database).total_micros == 45_000


def test_a_list_is_added_once_and_for_the_future(database: Database) -> None:
    changeover = now() + timedelta(days=1)
    add(database, dearer("2027-01"), changeover)
    for listed, moment, said in (
        (dearer("2027-01", times=3), changeover + timedelta(days=1), "never edited"),
        (dearer("2026-11"), changeover + timedelta(days=1), "never edited"),
        (dearer("again"), changeover, "that very moment"),
        (dearer("late"), now() - timedelta(seconds=1), "which is past"),
    ):
        with pytest.raises(Conflict, match=said):
            add(database, listed, moment)
    with database.read() as session:
        assert [row.id for row in prices.versions(session)] == ["2027-01", "2026-11"]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE price_version SET note = 'cheaper'",
        "UPDATE price_version SET list = '{}'",
        "DELETE FROM price_version",
        "TRUNCATE price_version",
    ],
)
def test_no_hand_edits_a_list(database: Database, edit: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), database.transaction() as session:
        session.execute(text(edit))


def test_a_file_is_read_with_its_moment() -> None:
    read = price_files.parse(SOURCE.replace("2026-11-01T00:00:00Z", "2027-02-01T00:00:00+01:00"))
    assert read.effective_at == datetime(2027, 1, 31, 23, tzinfo=UTC)
    assert read.listed == FIRST.listed


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("id =", "name =", "no field “name”"),
        ('id = "2026-11"', "id = 7", "`id` must be text"),
        ('id = "2026-11"', 'id = ""', "`id` must be text"),
        ("2026-11-01T00:00:00Z", "2026-11-01", "time zone"),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00", "time zone"),
        ("15_000", "0", "more than"),
        ("15_000", "-15_000", "more than"),
        ("15_000", "15_000.5", "whole number"),
        ("15_000", "true", "whole number"),
        ("15_000", "9_000_000_000_000", "at most"),
        ("turbo_style", "turbo_stile", "must price exactly"),
        ("multiplier = 2", "multiplier = 0", "multiplier"),
        ("multiplier = 2", "multiplier = 1.5", "multiplier"),
        ("1_114_112", "9_114_112", "ascend"),
        ("[per_image_micros]", "[[per_image_micros]]", "must price exactly"),
        ("[[size]]", "[size]", "TOML"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_its_fault(
    before: str, after: str, said: str
) -> None:
    assert before in SOURCE
    with pytest.raises(InvalidPriceFile, match=said):
        price_files.parse(SOURCE.replace(before, after))
