"""What the operator says about prices by the command: list every version, add one for the future.

Each function gets the parsed words and a database and returns the lines to print;
`webapp.operator_commands` names them.
"""

import argparse
from pathlib import Path

from licensing import price_files, prices
from licensing.db import Database, now
from licensing.money import format_usd
from licensing.prices import PriceVersion, read_list

Lines = list[str]


def show_or_add(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """List every price list, after adding the one in a file if that was asked."""
    said: Lines = []
    if chosen.file is not None:
        said += [*add(database, chosen.file), ""]
    with database.read() as session:
        versions = prices.versions(session)
        in_force = prices.in_force(session).id
    for version in versions:
        said += _lines(version, in_force)
    return said


def add(database: Database, path: Path) -> Lines:
    """Add the list of a file. Raises `InvalidPriceFile` and `Conflict`, with nothing added."""
    given = price_files.read_price_file(path)
    with database.transaction() as session:
        prices.add_version(session, given.listed, effective_at=given.effective_at, note=given.note)
    moment = f"{given.effective_at:%Y-%m-%d %H:%M} UTC"
    return [f"Added “{given.listed.id}”. Every process quotes from it at {moment}, by itself."]


def _lines(version: PriceVersion, in_force: str) -> Lines:
    listed = read_list(version.id, version.listed)
    if version.id == in_force:
        standing = "in force since"
    else:
        standing = "will take effect at" if version.effective_at > now() else "was in force from"
    costs = [f"{name} {format_usd(micros)}" for name, micros in listed.per_image_micros.items()]
    sizes = [
        f"{size.name} (to {size.pixels_max:,} pixels) x{size.multiplier}" for size in listed.sizes
    ]
    said = [f"{version.id}: {standing} {version.effective_at:%Y-%m-%d %H:%M} UTC. {version.note}"]
    return [*(line.rstrip() for line in said), f"    {', '.join(costs)}", f"    {', '.join(sizes)}"]


COMMANDS = {"prices": show_or_add}
