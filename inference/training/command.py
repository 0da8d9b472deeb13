"""The command line that all trainers share, and the config it reads.

    python -m inference.training.raw --config pocket --data data/pocket --out build/raw --resume

`--tiny` is the same code on a CPU in under a minute: a tiny model, made-up sprites, a few steps.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.training.folder import read_config


@dataclass(frozen=True)
class Command:
    """One parsed command line."""

    config: dict[str, Any]
    data: Path | None
    out: Path
    base: Path | None
    device: str
    seed: int
    steps: int | None
    seconds: float | None
    fit_seconds: float | None
    resume: bool

    def section(self, name: str) -> dict[str, Any]:
        """The part of the config that belongs to one trainer."""
        section: dict[str, Any] = self.config[name]
        return section


def parse(description: str, argv: list[str] | None = None) -> Command:
    """Parse the arguments of a trainer; exits with a usage message when they are wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--config", default="pocket", help="name in configs/ or path to a JSON file"
    )
    parser.add_argument("--data", type=Path, help="folder with the atlas (or, for LoRA, pictures)")
    parser.add_argument("--out", type=Path, required=True, help="folder for state and results")
    parser.add_argument("--base", type=Path, help="checkpoint folder that this stage starts from")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="number of steps, instead of the config's")
    parser.add_argument("--seconds", type=float, help="save the state and stop after so long")
    parser.add_argument(
        "--fit-seconds", type=float, help="set the number of steps so that the run takes so long"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--tiny", action="store_true", help="prove the code on a CPU in a minute")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=JSON", help="override the config"
    )
    given = parser.parse_args(argv)
    config = read_config("tiny" if given.tiny else given.config)
    for override in given.set:
        _override(config, override)
    return Command(
        config=config,
        data=given.data,
        out=given.out,
        base=given.base,
        device="cpu" if given.tiny else given.device,
        seed=given.seed,
        steps=given.steps,
        seconds=given.seconds,
        fit_seconds=given.fit_seconds,
        resume=given.resume,
    )


def _override(config: dict[str, Any], override: str) -> None:
    import json  # noqa: PLC0415 - only when a value is overridden

    path, _, value = override.partition("=")
    *parents, key = path.split(".")
    for name in parents:
        config = config[name]
    config[key] = json.loads(value)
