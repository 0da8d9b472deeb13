"""What the operator does about moderation by the command: numbers, access, the end of evidence.

Each function gets the parsed words and a database and returns the lines to print;
`webapp.operator_commands` names them.
"""

import argparse
import os
from datetime import datetime
from pathlib import Path

from inference import holdback
from inference.storage import Storage
from licensing import evidence, review_access, seats, transparency
from licensing.db import Database, now
from licensing.errors import NotFound
from licensing.evidence import EvidenceLock
from licensing.seats import Member
from webapp.settings import read_settings

Lines = list[str]


def numbers(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Print a month as CSV."""
    month = transparency.month(chosen.month)
    with database.read() as session:
        organisation_id = None
        if chosen.organisation:
            organisation_id = seats.find_organisation(session, chosen.organisation).id
        found = transparency.read(session, month, organisation_id)
    return transparency.as_csv(found).splitlines()


def access(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Show who may open locked evidence, after changing it if that was asked."""
    with database.transaction() as session:
        organisation = seats.find_organisation(session, chosen.organisation)
        listed = review_access.reviewers(session, organisation.id)
        address = chosen.grant or chosen.withdraw
        if address:
            member = _named([one for one, _ in listed], address)
            review_access.change_by_operator(
                session, member, chosen.by, is_given=bool(chosen.grant), reason=chosen.reason
            )
            listed = review_access.reviewers(session, organisation.id)
    return [
        f"{one.name} <{one.email}>, {one.role}: {'may' if has else 'may not'} open locked evidence"
        for one, has in listed
    ] or ["Nobody sits at the reviewers’ desk."]  # noqa: RUF001


def locked(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """List the evidence, or destroy what need not be kept any longer."""
    moment = now()
    with database.read() as session:
        locks = evidence.locks(session)
    if not chosen.destroy_expired:
        return [
            f"case {lock.case_id}: locked {lock.locked_at:%Y-%m-%d}, kept until "
            f"{lock.keep_until:%Y-%m-%d}{' (over)' if lock.keep_until <= moment else ''}"
            for lock in locks
        ] or ["No evidence is locked."]
    said: Lines = []
    storage = Storage(read_settings(os.environ).state / "pictures")
    for lock in _expired(database, locks, moment):
        said.append(f"case {lock.case_id}: kept until {lock.keep_until:%Y-%m-%d}")
        if not chosen.yes:
            continue
        with database.transaction() as session:
            keys = holdback.destroy(session, lock.generation_id, lock.picture_index)
        for key in keys:
            storage.delete(key)
        said[-1] += f"; {len(keys)} files deleted"
    if said and not chosen.yes:
        said.append("Say it again with --yes to delete these for good.")
    return said or ["The time of no evidence is over."]


def _expired(database: Database, locks: list[EvidenceLock], moment: datetime) -> list[EvidenceLock]:
    """The locks whose time is over and whose picture is still there."""
    with database.read() as session:
        return [
            lock
            for lock in locks
            if lock.keep_until <= moment
            and holdback.find_all(session, lock.generation_id, lock.picture_index)
        ]


def _named(reviewers: list[Member], address: str) -> Member:
    for one in reviewers:
        if one.email == address.strip().lower():
            return one
    raise NotFound(f"Nobody at the desk has the address {address}.")


COMMANDS = {"transparency": numbers, "reviewers": access, "evidence": locked}
