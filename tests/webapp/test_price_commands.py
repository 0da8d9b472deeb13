"""The operator's words about prices, from the command line to the next quote."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from licensing import price_files, prices
from licensing.db import Database, now
from licensing.errors import AtelierError
from webapp import operator_commands, operator_words

SOURCE = (Path(prices.__file__).parent / "texts" / "prices.toml").read_text("utf-8")


def atelier(database: Database, *words: str) -> list[str]:
    parser = argparse.ArgumentParser()
    operator_words.add_parsers(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["prices", *words])
    return operator_commands.COMMANDS[chosen.command](chosen, database, Path())


def write(folder: Path, id_: str, days: int, turbo: str = "15_000") -> str:
    effective = (now() + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    changed = SOURCE.replace('"2026-11"', f'"{id_}"').replace("2026-11-01T00:00:00Z", effective)
    path = folder / "prices.toml"
    path.write_text(changed.replace("turbo = 15_000", f"turbo = {turbo}"), "utf-8")
    return str(path)


def test_the_list_in_force_is_shown(database: Database) -> None:
    first, costs, sizes = atelier(database)
    assert first == "2026-11: in force since 2026-11-01 00:00 UTC. The first price list."
    assert "turbo_style $0.0175" in costs
    assert "2K (to 4,456,448 pixels) x4" in sizes


def test_a_list_is_added_for_the_future(database: Database, tmp_path: Path) -> None:
    said = atelier(database, "add", write(tmp_path, "2027-01", 3, turbo="16_000"))
    assert said[0].startswith("Added “2027-01”. Every process quotes from it at ")
    assert said[2].startswith("2027-01: will take effect at ")
    with database.read() as session:
        later = now() + timedelta(days=4)
        square = {"width": 128, "height": 128, "images": 1}
        assert prices.quote(session, "turbo", **square, at=later).total_micros == 16_000
        assert prices.quote(session, "turbo", **square).total_micros == 15_000


@pytest.mark.parametrize(
    ("id_", "days", "said"),
    [("2026-11", 3, "exists already"), ("2027-01", -1, "which is past"), ("", 3, "`id` must be")],
)
def test_what_cannot_be_added_is_refused_whole(
    database: Database, tmp_path: Path, id_: str, days: int, said: str
) -> None:
    with pytest.raises(AtelierError, match=said):
        atelier(database, "add", write(tmp_path, id_, days))
    with database.read() as session:
        assert [row.id for row in prices.versions(session)] == [price_files.shipped().listed.id]


def test_a_file_that_is_not_there_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match=r"none\.toml cannot be read"):
        atelier(database, "add", str(tmp_path / "none.toml"))
