"""The words of `atelier block-list`. Imports nothing of ours."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = ("block-list",)


def add_parsers(commands: "Subcommands") -> None:
    """Add `block-list` with its actions; alone it lists."""
    block_list = commands.add_parser("block-list", help="hashes of pictures nobody may make here")
    actions = block_list.add_subparsers(dest="action", metavar="action")
    actions.add_parser("list", help="count the hashes in force, by where they came from")
    feed = actions.add_parser("import", help="put a feed of PDQ hashes on everybody's list")
    feed.add_argument("file", type=Path, help="64 hexadecimal digits a line")
    feed.add_argument("--name", required=True, help="the feed's name; the same feed adds its news")
    # No default: what a list of csam matches is evidence, and must not be forgotten to be.
    feed.add_argument(
        "--category", required=True, help="what its pictures are refused for, or: known"
    )
    feed.add_argument(
        "--replace", action="store_true", help="take what the file no longer has off the list"
    )
    drop = actions.add_parser("drop", help="take a whole feed off the list")
    drop.add_argument("name")
    block = actions.add_parser("block", help="block one picture, for an organisation or for all")
    block.add_argument("picture", type=Path, help="a PNG, WebP, JPEG or GIF; it is not kept")
    block.add_argument("--category", required=True)
    block.add_argument("--name", default="operator", help="the feed that it is counted with")
