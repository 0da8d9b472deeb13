"""The words of the operator's money commands. Imports nothing of ours, as `operator_words`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = (
    "balance",
    "adjust",
    "grant",
    "credit-limit",
    "freeze",
    "unfreeze",
    "refund-generation",
)

_AMOUNT = "in US dollars, such as 25 or 12.50"


def add_parsers(commands: "Subcommands", login: str) -> None:
    """Add the subcommands and their words; `login` is who is at this machine."""
    balance = commands.add_parser("balance", help="show an organisation's balance and its lots")
    balance.add_argument("organisation")
    for name, words in {
        "adjust": "put a balance right, up or (with a minus) down",
        "grant": "give money that nobody paid for; it is spent first",
        "credit-limit": "let an organisation spend so much more than it has (0: no more)",
        "freeze": "stop new work of an organisation",
        "unfreeze": "let an organisation work again",
        "refund-generation": "give back what a generation was charged, or a part of it",
    }.items():
        command = commands.add_parser(name, help=words)
        command.add_argument("generation" if name == "refund-generation" else "organisation")
        if name == "refund-generation":
            command.add_argument("amount", nargs="?", help=f"{_AMOUNT}; all of it if left out")
        elif name not in {"freeze", "unfreeze"}:
            command.add_argument("amount", help=_AMOUNT)
        command.add_argument("--reason", required=True, help="kept for ever beside the movement")
        command.add_argument("--by", default=login)
        if name in {"adjust", "grant", "refund-generation"}:
            command.add_argument("--key", help="saying the same key again moves nothing")
        if name == "grant":
            command.add_argument("--expires", metavar="YYYY-MM-DD", help="its last day (UTC)")
