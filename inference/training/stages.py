"""The stages of a Raw run: which shapes, how many steps, and fitting both into a time.

A stage trains on one or several shapes in equal parts (a shape named twice counts twice). The
trainer asks which stage a step belongs to; with `--fit-seconds` the numbers of steps follow from
the speed that is measured.
"""

from dataclasses import dataclass
from typing import Any

from inference.training import flow, loop


@dataclass(frozen=True)
class Stage:
    """A stretch of training. Counts are per process; `shapes` are (width, height) in pixels."""

    shapes: tuple[tuple[int, int], ...]
    batch: int
    steps: int
    pool: int
    reuse: int
    share: float = 1.0  # of the time, when the run is fitted to a time

    @classmethod
    def read(cls, section: dict[str, Any]) -> "Stage":
        """A stage as the config spells it."""
        shapes = tuple((width, height) for width, height in section["shapes"])
        return cls(**{**section, "shapes": shapes})

    @property
    def shape_steps(self) -> int:
        """Steps on one entry of `shapes` before the next pool is made."""
        return self.pool // len(self.shapes) * self.reuse // self.batch

    @property
    def pool_steps(self) -> int:
        """Steps taken on one pool before the next is made."""
        return self.shape_steps * len(self.shapes)

    @property
    def tokens(self) -> int:
        """Image tokens of the stage's largest picture."""
        grids = (flow.grid_of(*shape) for shape in self.shapes)
        return max(rows * columns for rows, columns in grids)


class Schedule:
    """Which stage a step belongs to; fitted to a time if one is given."""

    def __init__(
        self, stages: tuple[Stage, ...], steps: int | None, fit_seconds: float | None
    ) -> None:
        self.stages, self.fit_seconds = stages, fit_seconds
        self.steps = [stage.steps for stage in stages]
        self.asked = steps

    @property
    def total(self) -> int:
        """All steps of all stages."""
        return self.asked or sum(self.steps)

    def stage_of(self, step: int) -> tuple[int, int]:
        """The stage that a step belongs to, and the step's number within it; the last is open."""
        for number, steps in enumerate(self.steps[:-1]):
            if step < steps:
                return number, step
            step -= steps
        return len(self.steps) - 1, step

    def pace(self, whole: loop.Pace, place: loop.Place, step: int) -> loop.Pace:
        """A pace for the stage of `step`: its share of the time that is left, if one is given."""
        if self.fit_seconds is None:
            return loop.Pace(place, step, None)
        number, _ = self.stage_of(step)
        left = self.fit_seconds - whole.elapsed()
        shares = [stage.share for stage in self.stages[number:]]
        return loop.Pace(place, step, left * shares[0] / sum(shares))

    def refit(self, pace: loop.Pace, step: int, pool_seconds: float) -> bool:
        """Set the stage's number of steps from its measured speed; later ones by their size."""
        number, within = self.stage_of(step - 1)
        stage = self.stages[number]
        fitted = pace.fitted(step, pool_seconds / stage.pool_steps)
        if fitted is None:
            return False
        self.steps[number] = fitted - (step - 1 - within)
        for later in range(number + 1, len(self.steps)):
            other = self.stages[later]
            work = (other.batch * other.tokens) / (stage.batch * stage.tokens)
            self.steps[later] = int(self.steps[number] * other.share / stage.share / work)
        return True
