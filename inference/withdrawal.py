"""Switching a model off: no new work at once, its queue emptied, its files deleted on request.

The switch is committed first; from then on nobody submits for the model and no worker begins with
it. Then what waits or runs is failed with the reason, and every hold goes back. A job that slipped
in between is refused by the worker that takes it, and failed by the next sweep. Called by the
command and by the sweep.
"""

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from inference import adapters, models
from inference.adapter_files import AdapterFiles
from inference.generations import IN_FLIGHT, Generation
from inference.models import Model
from inference.repairs import expire
from licensing import adapters as shelves
from licensing import licence, model_switches
from licensing.db import Database
from licensing.errors import Conflict

STOPPED_MAX = 500  # for one sweep; the next one takes the rest


def revoke(
    database: Database,
    model_id: str,
    *,
    reason: str,
    given_by: str,
    author_id: uuid.UUID | None = None,
) -> int:
    """Switch a model off for everybody and end its jobs; return how many were ended.

    Raises `ModelUnavailable` for an unknown model, `Conflict` where it is off already.
    """
    model = models.find(model_id)
    with database.transaction() as session:
        model_switches.switch(
            session, model.id, "revoked", reason=reason, given_by=given_by, author_id=author_id
        )
    stopped = 0
    while ended := stop_jobs(database, model.id):
        stopped += ended
    return stopped


def restore(
    database: Database,
    model_id: str,
    *,
    reason: str,
    given_by: str,
    author_id: uuid.UUID | None = None,
) -> None:
    """Switch a model on again. Raises `Conflict` where it is not off."""
    model = models.find(model_id)
    with database.transaction() as session:
        model_switches.switch(
            session, model.id, "restored", reason=reason, given_by=given_by, author_id=author_id
        )


def stop_jobs(database: Database, model_id: str | None = None) -> int:
    """Fail what waits or runs with a model that is off (default: any), and release its holds.

    Each job in a transaction of its own, since each takes the lane of another member.
    """
    with database.read() as session:
        off = model_switches.revoked(session)
        chosen = [id_ for id_ in off if model_id in (None, id_)]
        if not chosen:
            return 0
        waiting = session.execute(
            select(Generation.id, Generation.model)
            .where(Generation.model.in_(chosen), Generation.state.in_(IN_FLIGHT))
            .order_by(Generation.created_at, Generation.id)
            .limit(STOPPED_MAX)
        ).all()
        refusals = {
            id_: f"{licence.revoked_sentence(off[id_])} Nothing was charged." for id_ in chosen
        }
    ended = 0
    for generation_id, model in waiting:
        with database.transaction() as session:
            ended += expire(
                session, generation_id, code=licence.ModelRevoked.code, message=refusals[model]
            )
    return ended


@dataclass(frozen=True)
class Deletion:
    """What is deleted, and what stays: each with the sentence that says why."""

    deleted: tuple[Path, ...]
    kept: tuple[str, ...]


def delete_weights(
    database: Database, model_id: str, weights_folder: Path, *, given_by: str
) -> Deletion:
    """Delete a model's files on this machine, and the LoRAs that fit no model that is still on.

    Raises `Conflict` unless the model is switched off. Again is harmless. A link is taken away, and
    what it leads to stays and is named.
    """
    model = models.find(model_id)
    with database.read() as session:
        off = model_switches.revoked(session)
    if model.id not in off:
        raise Conflict(f"Switch {model.name} off before its files are deleted.")
    others = [other for other in models.CATALOGUE if other.id not in off]
    loras, kept = _derived_loras(model, others, weights_folder)
    deleted: list[Path] = []
    for path in (*models.places(model, weights_folder), *loras):
        if path.is_symlink():
            kept.append(f"{path} was a link; what it led to stays: {path.resolve()}")
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
        else:
            continue
        deleted.append(path)
    if deleted:
        with database.transaction() as session:
            told = "Deleted: " + ", ".join(path.name for path in deleted)
            model_switches.switch(
                session,
                model.id,
                "deleted",
                reason=told[: model_switches.REASON_CHARACTERS_MAX - 1],
                given_by=given_by,
            )
    return Deletion(tuple(deleted), tuple(kept))


def delete_loras(database: Database, model_id: str, files: AdapterFiles) -> int:
    """Take the teams' LoRAs of a model's family off their shelves, and delete their files.

    They are derivatives of its weights. Nothing happens while another model of the family is on.
    Returns how many files went; a file that fits nothing else is on no shelf any more.
    """
    family = models.find(model_id).worker_class
    with database.transaction() as session:
        off = model_switches.revoked(session)
        siblings = {model.id for model in models.CATALOGUE if model.worker_class == family}
        if not siblings <= set(off):
            return 0
        gone = shelves.withdraw(session, family)
    return sum(files.drop(database, sha256) for sha256 in gone)


def _derived_loras(
    model: Model, others: list[Model], weights_folder: Path
) -> tuple[list[Path], list[str]]:
    """Return the LoRAs to delete, and sentences for those that stay."""
    own = models.locate(model, weights_folder)
    folders = {other.name: models.locate(other, weights_folder) for other in others}
    derived: list[Path] = []
    kept: list[str] = []
    for lora in adapters.find(weights_folder):
        if own is None or not adapters.fits(lora, own):
            continue
        fitting = [n for n, folder in folders.items() if folder and adapters.fits(lora, folder)]
        if fitting:
            names = " and ".join(fitting)
            kept.append(f"{lora} also fits {names}, and stays until that is switched off too.")
        else:
            derived.append(lora.parent if lora.parent != weights_folder else lora)
    return derived, kept
