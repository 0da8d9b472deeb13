"""The whole log verified: every chain to its end, what is loose, and who signed checkpoints."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from licensing.chain import checkpoints, log
from licensing.chain.checkpoints import Checkpoint
from licensing.chain.export import Export
from licensing.chain.verify import Finding, Known, walk
from licensing.db import Database


@dataclass(frozen=True)
class Report:
    """What was read, and the first fault of each chain; none in a sound log."""

    chains: int
    links: int
    erased: int
    checkpoints: int
    findings: tuple[Finding, ...]


def inspect(database: Database, kept: Iterable[Checkpoint], trusted: frozenset[bytes]) -> Report:
    """Verify the log in the database against its checkpoints and those that were kept elsewhere."""
    with log.still(database) as session:
        every = [*kept, *checkpoints.stored(session)]
        known, findings = _sort(every, trusted)
        walks = {
            chain_id: walk(chain_id, partial(log.links, session, chain_id), known[chain_id])
            for chain_id in _chains(log.chains(session), known)
        }
        loose = list(log.loose(session))
    found = [walked.finding for walked in walks.values() if walked.finding is not None]
    return Report(
        chains=len(walks),
        links=sum(walked.links for walked in walks.values()),
        erased=sum(walked.erased for walked in walks.values()),
        checkpoints=len(every),
        findings=(*found, *loose, *findings),
    )


def inspect_export(export: Export, kept: Iterable[Checkpoint], trusted: frozenset[bytes]) -> Report:
    """As `inspect`, from a file alone."""
    every = [*kept, *export.checkpoints()]
    known, findings = _sort(every, trusted)
    walks = {
        chain_id: walk(chain_id, partial(export.links, chain_id), known[chain_id])
        for chain_id in _chains(export.chains(), known)
    }
    found = [walked.finding for walked in walks.values() if walked.finding is not None]
    return Report(
        chains=len(walks),
        links=sum(walked.links for walked in walks.values()),
        erased=sum(walked.erased for walked in walks.values()),
        checkpoints=len(every),
        findings=(*found, *export.loose(), *findings),
    )


def _sort(
    every: Iterable[Checkpoint], trusted: frozenset[bytes]
) -> tuple[dict[uuid.UUID, list[Known]], list[Finding]]:
    """What signed checkpoints say, by chain, and those that no trusted key signed."""
    known: dict[uuid.UUID, list[Known]] = defaultdict(list)
    findings: list[Finding] = []
    for one in every:
        wrong = checkpoints.unsigned([one], trusted)
        findings += wrong
        if not wrong:
            known[one.chain_id].append(one.known())
    return known, findings


def _chains(linked: Iterable[uuid.UUID], known: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    return list(dict.fromkeys([*linked, *known]))
