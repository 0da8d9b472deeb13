"""The words of the operator's bill commands. Imports nothing of ours, as `operator_words`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = ("close-month", "export")


def add_parsers(commands: "Subcommands") -> None:
    """Add the subcommands and their words."""
    close = commands.add_parser("close-month", help="close a month's bill for ever")
    close.add_argument("month", metavar="YYYY-MM", help="a month that has ended (UTC)")
    close.add_argument("--organisation", metavar="ID", help="this one alone; else everybody's")
    close.add_argument(
        "--clock-is-right",
        action="store_true",
        help="the database's clock moved far since it was last looked at, and it is right",
    )
    export = commands.add_parser("export", help="write a month's bill into files")
    export.add_argument("month", metavar="YYYY-MM")
    export.add_argument("--organisation", metavar="ID", help="needed where there are several")
    export.add_argument(
        "--format", default="csv", help="csv, parquet, focus-1.2.csv, ... or all; the default: csv"
    )
    export.add_argument("--out", type=Path, default=Path(), help="a folder; the default: here")
