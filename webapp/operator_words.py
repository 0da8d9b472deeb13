"""The words of the operator's commands. Imports nothing, because every `atelier` reads them."""

import argparse
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from webapp import bill_words, block_words, money_words, price_words, review_words

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - its only name

NAMES = (
    "attest",
    "revoke-model",
    "restore-model",
    "plan",
    "policy",
    "document",
    "payments",
    *money_words.NAMES,
    *price_words.NAMES,
    *bill_words.NAMES,
    *block_words.NAMES,
    *review_words.NAMES,
)


def add_parsers(commands: "Subcommands") -> None:
    """Add the subcommands and their words."""
    attest = commands.add_parser("attest", help="state, each year, that the licence may be used")
    attest.add_argument("--by", default=_login(), help="the name of the person who states it")
    attest.add_argument(
        "--enterprise-licence", metavar="NUMBER", help="you hold an Enterprise License"
    )
    attest.add_argument("--yes", action="store_true", help="store the statement that is printed")
    attest.add_argument("--withdraw", metavar="WHY", help="take the statement back")
    for name, words in {
        "revoke-model": "switch a model off for everybody and stop its jobs",
        "restore-model": "switch a model on again",
    }.items():
        switch = commands.add_parser(name, help=words)
        switch.add_argument("model")
        switch.add_argument("--reason", default="", help="one sentence that people will read")
        switch.add_argument("--by", default=_login())
        if name == "revoke-model":
            switch.add_argument(
                "--delete-weights",
                action="store_true",
                help="delete its files here, and the LoRAs made from it; again on each machine",
            )
    plan = commands.add_parser("plan", help="show or change an organisation's plan and seats")
    plan.add_argument("organisation")
    plan.add_argument("--tier")
    plan.add_argument("--seats", type=int)
    policy = commands.add_parser("policy", help="show how strict prompts are judged, or tighten it")
    policy.add_argument("organisation")
    policy.add_argument("category", nargs="?")
    policy.add_argument("action", nargs="?", choices=("label", "review", "block"), default="block")
    policy.add_argument("--reason", default="", help="why, for whoever asks later")
    document = commands.add_parser("document", help="put a DPA, SLA or terms on file")
    document.add_argument("organisation")
    document.add_argument("kind", choices=("custom-terms", "dpa", "sla"))
    document.add_argument("version")
    document.add_argument("file", type=Path, help="the text, in Markdown")
    document.add_argument("--title", required=True)
    document.add_argument("--for", dest="audience", choices=("owner", "members"), default="owner")
    document.add_argument("--by", default=_login())
    payments = commands.add_parser("payments", help="messages of the payment provider")
    payments.add_argument("action", nargs="?", choices=("list", "replay"), default="list")
    payments.add_argument("event", nargs="?", help="apply this one again (evt_...)")
    payments.add_argument("--all", action="store_true", help="list what was applied, too")
    money_words.add_parsers(commands, _login())
    bill_words.add_parsers(commands)
    block_words.add_parsers(commands)
    price_words.add_parsers(commands)
    review_words.add_parsers(commands, _login())


def _login() -> str:
    """Who is at this machine, as far as it knows."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "operator"
