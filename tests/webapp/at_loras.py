"""A LoRA in somebody's hands: the file, its way in, and the worker's judgement of its grid."""

import hashlib
from pathlib import Path

import httpx2
from atelier_at_work import Work, encoded

from inference.safety import ImageVerdict
from licensing import adapters

WEIGHTS = Path(__file__).parents[2] / "weights"
LINE = (WEIGHTS / "pocket-lora-line" / "pytorch_lora_weights.safetensors").read_bytes()
SHA = hashlib.sha256(LINE).hexdigest()


def stock(work: Work) -> Work:
    """Put the pocket models' real weights beside a studio."""
    weights = work.running.settings.weights
    for model in ("pocket-turbo", "pocket-raw"):
        (weights / model / "model_index.json").unlink()
        (weights / model).rmdir()
        (weights / model).symlink_to(WEIGHTS / model)
    return work


def upload(
    client: httpx2.Client, content: bytes = LINE, name: str = "Line art", triggers: str = ""
) -> httpx2.Response:
    return client.post("/loras/file", params={"name": name, "triggers": triggers}, content=content)


def probe(work: Work, adapter_id: str, verdict: ImageVerdict) -> Path:
    """Judge as the worker does, and return where the grid lies.

    `tests/inference/test_probe.py` has the worker itself.
    """
    with work.running.database.transaction() as session:
        adapter = adapters.access(session, work.member, adapter_id)
        claimed = adapters.claim(session, adapter.id, "played by a test")
        assert claimed is not None
    grid = work.running.settings.state / "adapters" / "grids" / f"{claimed.id.hex}.webp"
    grid.parent.mkdir(exist_ok=True)
    grid.write_bytes(encoded("WEBP", 64, 64))
    with work.running.database.transaction() as session:
        assert adapters.judge(
            session,
            claimed,
            action=verdict.action,
            category=verdict.category,
            score=verdict.score,
            source=verdict.source,
            grid="grid-1",
        )
    return grid
