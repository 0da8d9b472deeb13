"""What the operator says about licences and policy by the command: attest, revoke-model and more.

Each function gets the parsed words and a database, calls one function and returns the lines to
print. `webapp.cli` opens the database; `webapp.operator_words` has the words.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from inference import models, withdrawal
from inference.adapter_files import AdapterFiles
from licensing import documents, licence, plans, policy, seats
from licensing.db import Database
from licensing.errors import Conflict, NotFound
from webapp import (
    bill_commands,
    block_commands,
    money_commands,
    payment_commands,
    price_commands,
    review_commands,
)

Lines = list[str]
Command = Callable[[argparse.Namespace, Database, Path], Lines]


def attest(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Print the statement, and store it if that was said."""
    if chosen.withdraw:
        with database.transaction() as session:
            licence.withdraw(session, given_by=chosen.by, author_id=None, reason=chosen.withdraw)
        return ["The statement is taken back. Models that need it run no more."]
    kind: licence.Kind = "enterprise_licence" if chosen.enterprise_licence else "below_threshold"
    if not chosen.yes:
        with database.read() as session:
            state = licence.standing(session)
        return [
            state.sentence,
            "",
            f"{chosen.by} would state:",
            state.terms.statements[kind].strip(),
            "",
            "Say it again with --yes to store this statement for a year.",
        ]
    with database.transaction() as session:
        made = licence.attest(
            session,
            kind,
            given_by=chosen.by,
            author_id=None,
            reference=chosen.enterprise_licence or "",
        )
    return [f"Stored: {made.given_by}, valid until {made.valid_until:%d %B %Y}."]


def revoke_model(chosen: argparse.Namespace, database: Database, weights: Path) -> Lines:
    """Switch a model off; with --delete-weights also once more, for the files of this machine."""
    said: Lines = []
    try:
        stopped = withdrawal.revoke(
            database, chosen.model, reason=chosen.reason, given_by=chosen.by
        )
        said.append(f"{models.name_of(chosen.model)} is switched off; jobs stopped: {stopped}.")
    except Conflict as error:
        with database.read() as session:
            is_off = licence.is_off(session, chosen.model)
        if not (chosen.delete_weights and is_off):
            raise
        said.append(error.message)
    if chosen.delete_weights:
        gone = withdrawal.delete_weights(database, chosen.model, weights, given_by=chosen.by)
        said += [f"Deleted {path}" for path in gone.deleted] or ["No files of it lie here."]
        said += gone.kept
        files = AdapterFiles(chosen.state / "adapters")
        loras = withdrawal.delete_loras(database, chosen.model, files)
        said += [f"Deleted {loras} LoRAs that teams had brought."] if loras else []
        said.append("Restart the workers: one that has loaded it keeps it in memory until then.")
    return said


def restore_model(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Switch a model on again."""
    withdrawal.restore(database, chosen.model, reason=chosen.reason, given_by=chosen.by)
    return [f"{models.name_of(chosen.model)} is switched on."]


def plan(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Show an organisation's plan, after changing it if that was asked."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        if chosen.tier:
            ceiling = chosen.seats or organisation.seat_ceiling
            plans.change_tier(session, organisation.id, chosen.tier, ceiling=ceiling)
        elif chosen.seats:
            plans.set_ceiling(session, organisation.id, chosen.seats)
        now = plans.read(session, organisation.id)
    taken = f"{now.seats.assigned} assigned, {now.seats.pending} held by pending invites"
    return [f"{organisation.name}: {now.tier.name}, {now.seats.ceiling} seats bought, {taken}."]


def document(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Put a version of a document on file for an organisation."""
    try:
        text = chosen.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{chosen.file} cannot be read as UTF-8 text.") from error
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        made = documents.publish(
            session,
            organisation.id,
            kind=chosen.kind,
            version=chosen.version,
            title=chosen.title,
            text=text,
            audience=chosen.audience,
            given_by=chosen.by,
        )
    return [f"On file for {organisation.name}: {made.title}, version {made.version}."]


def tighten_policy(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Show how strict an organisation is, after changing a category if that was asked."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        if chosen.category:
            policy.tighten_as_operator(
                session, organisation.id, chosen.category, chosen.action, reason=chosen.reason
            )
        standings = policy.standings(session, organisation.id)
    return [
        f"{one.category.id:20} {one.action}" + (" (stricter)" if one.is_tightened else "")
        for one in standings
    ]


COMMANDS: Mapping[str, Command] = {
    "attest": attest,
    "revoke-model": revoke_model,
    "restore-model": restore_model,
    "plan": plan,
    "policy": tighten_policy,
    "document": document,
    **money_commands.COMMANDS,
    **price_commands.COMMANDS,
    **bill_commands.COMMANDS,
    **block_commands.COMMANDS,
    **payment_commands.COMMANDS,
    **review_commands.COMMANDS,
}
