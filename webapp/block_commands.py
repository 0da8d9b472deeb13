"""What the operator does with the block list by the command: import, list, drop, block a picture.

Each function gets the parsed words and a database and returns the lines to print;
`webapp.operator_commands` names them. What an operator blocks counts for everybody; a reviewer's
own entries are made at the desk and never touched here.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from licensing import block_list, policy_words
from licensing.db import Database
from licensing.errors import NotFound

Lines = list[str]


def run(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Do the chosen action."""
    return ACTIONS[chosen.action or "list"](chosen, database)


def show(_: argparse.Namespace, database: Database) -> Lines:
    """Count what is in force, by source and category."""
    with database.read() as session:
        counted = block_list.counts(session)
    if not counted:
        return ["The block list is empty. Feeds need a membership; see docs/safety.md."]
    return [
        f"{one.hashes:>9,}  {one.source} ({one.category}), "
        f"{'everybody' if one.organisations is None else f'{one.organisations} organisations'}"
        for one in counted
    ]


def import_feed(chosen: argparse.Namespace, database: Database) -> Lines:
    """Add a file of hashes, whole or not at all."""
    category = policy_words.of_list(chosen.category)
    with database.transaction() as session:
        gone = 0
        if chosen.replace:
            gone = block_list.drop_missing(session, _lines(chosen.file), source=chosen.name)
        added = block_list.import_feed(
            session, _lines(chosen.file), source=chosen.name, category=category
        )
    taken = f", {gone:,} were taken off" if chosen.replace else ""
    return [f"{added:,} hashes of “{chosen.name}” are new{taken}. Workers see them at once."]


def drop(chosen: argparse.Namespace, database: Database) -> Lines:
    """Take a feed off the list."""
    with database.transaction() as session:
        gone = block_list.drop_feed(session, chosen.name)
    if not gone:
        raise NotFound(f"No feed named “{chosen.name}” is in force.")
    return [f"{gone:,} hashes of “{chosen.name}” count no more."]


def block(chosen: argparse.Namespace, database: Database) -> Lines:
    """Hash one picture and block it for everybody."""
    from inference.safety.uploads import fingerprint, open_picture  # noqa: PLC0415 - numpy, Pillow

    category = policy_words.of_list(chosen.category)
    try:
        content = chosen.picture.read_bytes()
    except OSError as error:
        raise NotFound(f"{chosen.picture} cannot be read.") from error
    hashes = fingerprint(open_picture(content).image)
    if not hashes:
        raise NotFound("This picture is too plain to be told from others, so it is not blocked.")
    with database.transaction() as session:
        added = block_list.import_feed(
            session, [hashes[0].hex()], source=chosen.name, category=category
        )
    state = "is blocked now" if added else "was blocked already"
    return [f"The picture {state} for everybody, in all orientations."]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read as text.") from error


ACTIONS: Mapping[str, Callable[[argparse.Namespace, Database], Lines]] = {
    "list": show,
    "import": import_feed,
    "drop": drop,
    "block": block,
}

COMMANDS = {"block-list": run}
