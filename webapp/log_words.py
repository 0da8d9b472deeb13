"""The words of `atelier audit` and what stands below it. Imports nothing of ours."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name


def add_parsers(commands: "Subcommands") -> None:
    """Add `audit`, which alone checks the books, and its actions on the log."""
    audit = commands.add_parser("audit", help="add up every account again; verify the log")
    audit.set_defaults(action=None)
    actions = audit.add_subparsers(dest="action", metavar="action")
    verify = actions.add_parser("verify", help="name the first row of the log that was bent")
    verify.add_argument("--offline", type=Path, metavar="EXPORT", help="an export, no database")
    verify.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="a checkpoint that was kept elsewhere; may be said again",
    )
    verify.add_argument(
        "--key",
        metavar="HEX",
        action="append",
        default=[],
        help="a public key to trust (as `atelier audit key` prints it) beside this studio's",
    )
    export = actions.add_parser("export", help="write the log to a file that verifies by itself")
    export.add_argument("file", type=Path)
    export.add_argument(
        "--without-words", action="store_true", help="leave out what people wrote, and its salts"
    )
    checkpoint = actions.add_parser("checkpoint", help="sign how far the log has come")
    checkpoint.add_argument("--out", type=Path, metavar="FILE", help="write it, to keep elsewhere")
    actions.add_parser("key", help="print the public key that checkpoints are signed with")
