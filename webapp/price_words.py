"""The words of the operator's price commands. Imports nothing of ours, as `operator_words`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = ("prices",)


def add_parsers(commands: "Subcommands") -> None:
    """Add `prices`, and `prices add FILE` below it."""
    prices = commands.add_parser("prices", help="list the price lists, or add one for the future")
    prices.set_defaults(file=None)
    actions = prices.add_subparsers(dest="action", metavar="add")
    add = actions.add_parser("add", help="add a list, which is never edited afterwards")
    add.add_argument("file", type=Path, help="a list such as licensing/texts/prices.toml")
