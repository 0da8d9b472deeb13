"""The words of the operator's commands about moderation. Imports nothing, as `operator_words`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = ("transparency", "reviewers", "evidence")


def add_parsers(commands: "Subcommands", login: str) -> None:
    """Add `transparency`, `reviewers` and `evidence`."""
    numbers = commands.add_parser("transparency", help="a month of moderation in numbers, as CSV")
    numbers.add_argument("month", help="like 2026-11")
    numbers.add_argument("--organisation", help="of one alone; otherwise of the whole studio")
    access = commands.add_parser(
        "reviewers", help="show or change who may open evidence of sexual content with minors"
    )
    access.add_argument("organisation")
    change = access.add_mutually_exclusive_group()
    change.add_argument("--grant", metavar="EMAIL", help="give a reviewer the access")
    change.add_argument("--withdraw", metavar="EMAIL", help="take it back")
    access.add_argument("--reason", default="", help="why; it is written down")
    access.add_argument("--by", default=login)
    evidence = commands.add_parser(
        "evidence", help="list locked evidence, and for how long it is kept"
    )
    evidence.add_argument(
        "--destroy-expired",
        action="store_true",
        help="delete the files and rows whose time of keeping is over",
    )
    evidence.add_argument("--yes", action="store_true", help="do it, not only say what would go")
