"""What `atelier audit` does with the log: verify it, export it, sign how far it has come.

Each function returns the lines to print and whether the log is sound. `webapp.cli` opens the
database, except for an export, which is verified without one.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from licensing import chain
from licensing.chain import checkpoints, export, log
from licensing.chain.checkpoints import Checkpoint
from licensing.chain.documents import Unusable
from licensing.chain.inspection import Report
from licensing.chain.signing import PUBLIC_KEY_BYTES, open_key
from licensing.db import Database


@dataclass(frozen=True)
class Told:
    """What is printed, and whether the command ends well."""

    lines: list[str]
    is_sound: bool = True


Action = Callable[[argparse.Namespace, Database, Path], Told]


def verify(chosen: argparse.Namespace, database: Database, papers: Path) -> Told:
    """Link what waits, then read the whole log against every checkpoint."""
    chain.seal(database)
    trusted = frozenset({open_key(papers).public, *_keys(chosen)})
    report = chain.inspect(database, _kept(chosen), trusted)
    return Told(_sentences(report), not report.findings)


def verify_offline(chosen: argparse.Namespace) -> Told:
    """Read an export. Without --key, whoever signed the kept checkpoints is believed."""
    given = export.read(chosen.offline)
    kept = _kept(chosen)
    signers = {one.public_key for one in kept or given.checkpoints()}
    trusted = frozenset(_keys(chosen)) or frozenset(signers)
    report = chain.inspect_export(given, kept, trusted)
    said = _sentences(report)
    if not chosen.key:
        said += [
            f"Believed, because you gave no --key: signatures of {key.hex()}."
            for key in sorted(trusted)
        ]
    if not given.has_words:
        said.append("The export holds no words, so nothing is said about those.")
    return Told(said, not report.findings)


def write_export(chosen: argparse.Namespace, database: Database, _: Path) -> Told:
    """Write the log to a file."""
    chain.seal(database)
    with log.still(database) as session:
        export.write(chosen.file, session, with_words=not chosen.without_words)
    again = f"atelier audit verify --offline {chosen.file} --checkpoint FILE"
    return Told([f"Wrote {chosen.file}. It verifies by itself: {again}"])


def sign(chosen: argparse.Namespace, database: Database, papers: Path) -> Told:
    """Sign the head of every chain; write the latest checkpoint of each if that was asked."""
    chain.seal(database)
    key = open_key(papers)
    made = checkpoints.make(database, key)
    with database.read() as session:
        latest = checkpoints.stored(session, latest_only=True)
    said = [f"Signed {made} of {len(latest)} chains anew; the others have not grown."]
    if chosen.out is not None:
        checkpoints.write(chosen.out, latest)
        said.append(f"Wrote {chosen.out}. Keep it where this studio's machines cannot write.")
    return Told(said)


def public_key(_: argparse.Namespace, __: Database, papers: Path) -> Told:
    """Print the key that an outsider needs."""
    return Told([open_key(papers).public.hex()])


def _sentences(report: Report) -> list[str]:
    said = [f"{finding.sentence} (chain {finding.chain_id})" for finding in report.findings]
    counted = f"{report.links} links in {report.chains} chains, {report.checkpoints} checkpoints"
    if said:
        return [*said, f"Read {counted}."]
    erased = f" The words of {report.erased} rows were erased with their people."
    return [f"The log is whole: {counted}.{erased if report.erased else ''}"]


def _kept(chosen: argparse.Namespace) -> list[Checkpoint]:
    return [one for path in chosen.checkpoint for one in checkpoints.read(path)]


def _keys(chosen: argparse.Namespace) -> list[bytes]:
    try:
        keys = [bytes.fromhex(text) for text in chosen.key]
    except ValueError as error:
        raise Unusable("A public key is 64 hexadecimal digits.") from error
    if any(len(key) != PUBLIC_KEY_BYTES for key in keys):
        raise Unusable("A public key is 64 hexadecimal digits.")
    return keys


ACTIONS: Mapping[str, Action] = {
    "verify": verify,
    "export": write_export,
    "checkpoint": sign,
    "key": public_key,
}
