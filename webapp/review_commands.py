"""What the operator does about moderation by the command: numbers, access, the end of evidence.

Each function gets the parsed words and a database and returns the lines to print;
`webapp.operator_commands` names them.
"""

import argparse
import os
from pathlib import Path

from inference import holdback
from inference.adapter_files import AdapterFiles
from inference.storage import Storage
from licensing import adapters, evidence, review_access, seats, transparency
from licensing.db import Database, now
from licensing.errors import NotFound
from licensing.evidence import AdapterLock, EvidenceLock
from licensing.seats import Member
from webapp.settings import read_settings

Lines = list[str]
Lock = EvidenceLock | AdapterLock


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
        locks: list[Lock] = [*evidence.locks(session), *evidence.adapter_locks(session)]
    locks.sort(key=lambda lock: lock.keep_until)
    if not chosen.destroy_expired:
        return [
            f"case {lock.case_id}: {'a LoRA, ' if isinstance(lock, AdapterLock) else ''}"
            f"locked {lock.locked_at:%Y-%m-%d}, kept until "
            f"{lock.keep_until:%Y-%m-%d}{' (over)' if lock.keep_until <= moment else ''}"
            for lock in locks
        ] or ["No evidence is locked."]
    said: Lines = []
    kept = Kept(database, read_settings(os.environ).state)
    for lock in locks:
        if lock.keep_until > moment or not kept.is_there(lock):
            continue
        said.append(f"case {lock.case_id}: kept until {lock.keep_until:%Y-%m-%d}")
        if chosen.yes:
            said[-1] += f"; {kept.destroy(lock)} files deleted"
    if said and not chosen.yes:
        said.append("Say it again with --yes to delete these for good.")
    return said or ["The time of no evidence is over."]


class Kept:
    """What lies on the disk for a lock: a picture's files, or a LoRA's file and its grid."""

    def __init__(self, database: Database, state: Path) -> None:
        """Take the studio's folder."""
        self._database = database
        self._storage = Storage(state / "pictures")
        self._loras = AdapterFiles(state / "adapters")

    def is_there(self, lock: Lock) -> bool:
        """Whether there is anything left to destroy."""
        if isinstance(lock, AdapterLock):
            return self._loras.grid(lock.adapter_id).is_file()
        with self._database.read() as session:
            return bool(holdback.find_all(session, lock.generation_id, lock.picture_index))

    def destroy(self, lock: Lock) -> int:
        """Delete it for good, the row first; returns how many files went."""
        if isinstance(lock, AdapterLock):
            with self._database.transaction() as session:
                sha256 = adapters.destroy(session, lock.adapter_id)
            count = int(self._loras.drop(self._database, sha256))
            self._loras.grid(lock.adapter_id).unlink(missing_ok=True)
            return count + 1
        with self._database.transaction() as session:
            keys = holdback.destroy(session, lock.generation_id, lock.picture_index)
        for key in keys:
            self._storage.delete(key)
        return len(keys)


def _named(reviewers: list[Member], address: str) -> Member:
    for one in reviewers:
        if one.email == address.strip().lower():
            return one
    raise NotFound(f"Nobody at the desk has the address {address}.")


COMMANDS = {"transparency": numbers, "reviewers": access, "evidence": locked}
