r"""distil_turbo: few-step sampling without guidance, by Trajectory Distribution Matching.

Three networks start from Raw: the teacher (frozen), the student, and a critic that follows the
student's distribution. The student is rolled out along its own few-step grid and corrected at a
random step (`matching`). No pictures are needed, captions only. Most iterations use the 8-step
grid, the others the 4-step grid, so that both work; shapes take turns by chance.

    torchrun --nproc-per-node 2 -m inference.training.turbo --config pocket --data data/pocket \
        --base build/raw/checkpoint --out build/turbo
"""

import copy
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.training import flow, folder, loop, pools, recorded, text
from inference.training.command import Command, parse
from inference.training.matching import Matching
from inference.training.state import load_state, save_state


@dataclass(frozen=True)
class TurboConfig:
    """One distillation. Counts are per process."""

    iterations: int
    batch: int
    shapes: tuple[tuple[int, int], ...]  # (width, height) in pixels; one named twice counts twice
    text_tokens: int
    guidance: float = 2.5
    grids: tuple[int, ...] = (8, 8, 4)
    student_rate: float = 1e-4
    critic_rate: float = 3e-4
    warm_up: int = 20
    cool_down_share: float = 0.5
    average: float = 0.99
    captions: int = 16384
    compile: bool = True
    graph: bool = True

    @classmethod
    def read(cls, section: dict[str, Any]) -> "TurboConfig":
        """The config as its file spells it."""
        shapes = tuple((width, height) for width, height in section["shapes"])
        return cls(**{**section, "shapes": shapes})


def main() -> None:
    run(parse("Distil Raw into a few-step model."))


def run(command: Command) -> Path:
    """Train to the end (or until told to stop); returns the finished checkpoint folder."""
    place = loop.open_place(command.device, command.out)
    journal = loop.Journal(place, "turbo")
    base = command.base
    assert base is not None, "--base names Raw's checkpoint folder"
    atlas = pools.load_atlas(command.data, torch.device("cpu"), pixels=False)
    training = TurboTraining(command, base, atlas, place)
    stop = loop.Stop(place, command.seconds)
    journal.event("start", step=training.step, steps=training.total)
    finished = training.run_steps(journal, stop)
    if place.first:
        training.write_checkpoint(command.out / "checkpoint")
    journal.event("finished" if finished else "stopped", step=training.step)
    loop.close_place(place)
    return command.out / "checkpoint"


class TurboTraining:
    """The state of a distillation: what a checkpoint holds and what a step changes."""

    def __init__(self, command: Command, base: Path, atlas: Any, place: loop.Place) -> None:
        self.command, self.place, self.base = command, place, base
        self.config = TurboConfig.read(command.section("turbo"))
        parts = folder.load(base)
        self.text = text.TextStates(parts.text_encoder, parts.tokenizer).to(place.device)
        self.teacher = parts.transformer.to(place.device)
        self.student, self.critic = copy.deepcopy(self.teacher), copy.deepcopy(self.teacher)
        self.average = loop.Average(self.student, self.config.average)
        fused = place.device.type == "cuda"
        self.student_optimizer, self.critic_optimizer = (
            torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.0, 0.99), fused=fused)
            for net, rate in (
                (self.student, self.config.student_rate),
                (self.critic, self.config.critic_rate),
            )
        )
        tokens = self.config.text_tokens
        self.source = pools.Source(
            atlas, command.seed + 1, place.rank, None, parts.tokenizer, tokens
        )
        empty, count = text.tokenize(parts.tokenizer, [""], tokens)
        self.empty = (
            torch.from_numpy(empty).to(place.device),
            torch.from_numpy(count).to(place.device),
        )
        self.step, self.total = 0, command.steps or self.config.iterations
        self.pool_number = -1
        self.grids = [flow.grid_of(*shape) for shape in self.config.shapes]
        self.length = tokens + max(rows * columns for rows, columns in self.grids)
        self.nothing: tuple[Tensor, Tensor] | None = None
        for net in (self.student, self.critic):
            recorded.make_gradients(net.parameters())
        matching = Matching(self.student, self.critic, self.teacher, self.config.guidance)
        pool, graphs = recorded.Pool(place.device), self.config.graph and fused
        self.predict, self.read, self.critic_gradients, self.student_gradients = (
            recorded.Recorded(function, pool, enabled=graphs)
            for function in (
                matching.predict,
                self.read_captions,
                matching.critic_loss,
                matching.student_loss,
            )
        )
        if command.resume and (saved := load_state(command.out / "state")):
            self.restore(saved)
        if self.config.compile and fused:
            for net in (self.teacher, self.student, self.critic):
                recorded.compile_blocks(net.transformer_blocks)
            self.text.compile_layers()

    def run_steps(self, journal: loop.Journal, stop: loop.Stop) -> bool:
        """Run the remaining iterations; False when stopped early. The state is saved either way."""
        pace = loop.Pace(self.place, self.step, self.command.fit_seconds)
        while self.step < self.total:
            losses = self.advance()
            self.step += 1
            if (fitted := pace.fitted(self.step)) is not None:
                self.total = fitted
                journal.event("fitted", steps=fitted)
            if journal.due():
                speed = pace.per_second(self.step, self.config.batch)
                values = {name: round(value.item(), 5) for name, value in losses.items()}
                journal.event("step", step=self.step, samples_per_second=speed, **values)
            if stop.now(self.step):
                break
        self.save()
        return self.step >= self.total

    def advance(self) -> dict[str, Tensor]:
        """One rollout, one critic step, one student step."""
        config = self.config
        generator = loop.step_generator(self.place, self.command.seed, self.step)
        levels = flow.sigmas(config.grids[self.step % len(config.grids)], flow.TURBO_MU)
        rows, columns = self.grid()
        place = flow.positions(self.length - rows * columns, rows, columns, self.place.device)
        caption = self.captions(self.length - rows * columns)
        shape = (config.batch, rows * columns, self.student.config.in_channels)
        noise = torch.randn(shape, generator=generator, device=self.place.device)
        path = self.roll_out(noise, levels, (caption[0], caption[1], place))
        levels_here = torch.tensor(levels).to(self.place.device)

        def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
            """A state of the path and the next, their times, fresh noise: by chance, per row."""
            k = torch.randint(
                len(levels) - 1, (config.batch,), generator=generator, device=noise.device
            )
            row = torch.arange(config.batch, device=noise.device)
            share = torch.rand(config.batch, generator=generator, device=noise.device)
            fresh = torch.randn(shape, generator=generator, device=noise.device)
            times = torch.stack([levels_here[k], levels_here[k + 1], share])
            return path[k, row], path[k + 1, row], times, fresh

        self.set_rates()
        start, reached, times, fresh = drawn()
        critic = self.critic_gradients(start, reached, times, fresh, place, *caption)
        self.take(self.critic, self.critic_optimizer)
        start, _, times, fresh = drawn()
        student = self.student_gradients(start, times, fresh, place, *caption)
        self.take(self.student, self.student_optimizer)
        self.average.update(self.step)
        return {"critic": critic, "student": student}

    def grid(self) -> flow.Grid:
        """Rows and columns of the iteration; every process takes the same."""
        chooser = loop.generator_of(self.command.seed, self.step)
        return self.grids[int(torch.randint(len(self.grids), (), generator=chooser))]

    def take(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Take an optimizer's step on a network's gradients."""
        loop.average_gradients(net.parameters(), self.place)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    def set_rates(self) -> None:
        config = self.config
        for optimizer, peak in (
            (self.student_optimizer, config.student_rate),
            (self.critic_optimizer, config.critic_rate),
        ):
            rate = loop.learning_rate(
                self.step,
                self.total,
                peak=peak,
                warm_up=config.warm_up,
                cool_down=int(self.total * config.cool_down_share),
            )
            for group in optimizer.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def captions(self, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Padded states and mask of this iteration's captions, then of the empty caption."""
        size = self.config.batch
        number, turn = divmod(self.step, self.config.captions // size)
        if number != self.pool_number:
            drawn = list(self.source.chunks(number, self.config.captions))
            device = self.place.device
            self.ids = torch.cat([torch.from_numpy(chunk.ids) for chunk in drawn]).to(device)
            self.counts = torch.cat([torch.from_numpy(chunk.counts) for chunk in drawn]).to(device)
            self.pool_number = number
        part = slice(turn * size, (turn + 1) * size)
        counts = self.counts[part]
        states = self.read(self.ids[part], counts)
        mask = torch.arange(states.shape[1], device=counts.device)[None, :] < counts[:, None]
        if self.nothing is None:
            with loop.half_precision(self.place.device):
                self.nothing = self.text(*self.empty)
        empty_states, empty_mask = self.nothing
        nothing, nothing_mask = flow.padded(empty_states, empty_mask, length)
        states, mask = flow.padded(states, mask, length)
        return states, mask, nothing.expand(size, -1, -1, -1), nothing_mask.expand(size, -1)

    def read_captions(self, ids: Tensor, counts: Tensor) -> Tensor:
        with torch.no_grad(), loop.half_precision(self.place.device):
            states: Tensor = self.text(ids, counts)[0]
            return states

    def roll_out(self, noise: Tensor, levels: list[float], caption: tuple[Tensor, ...]) -> Tensor:
        """The student's states at all levels: (K + 1, B, N, C)."""
        states = [noise]
        for level, following in pairwise(levels):
            t = torch.full((len(noise),), level, device=noise.device)
            velocity = self.predict(states[-1], t, *caption)
            states.append(states[-1] + (following - level) * velocity)
        return torch.stack(states)

    def save(self) -> None:
        if not self.place.first:
            return
        tree = {
            "student": dict(self.student.named_parameters()),
            "critic": dict(self.critic.named_parameters()),
            "average": self.average.state_dict(),
            "student_optimizer": self.student_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "step": self.step,
            "total": self.total,
        }
        save_state(self.command.out / "state", tree)

    @torch.no_grad()
    def restore(self, saved: dict[str, Any]) -> None:
        for net, name in ((self.student, "student"), (self.critic, "critic")):
            for key, parameter in net.named_parameters():
                parameter.copy_(saved[name][key])
        self.average.load_state_dict(saved["average"])
        self.student_optimizer.load_state_dict(saved["student_optimizer"])
        self.critic_optimizer.load_state_dict(saved["critic_optimizer"])
        self.step, self.total = saved["step"], self.command.steps or saved["total"]

    def write_checkpoint(self, out: Path) -> None:
        """The student's averaged weights as a complete folder; the other parts are Raw's."""
        shutil.rmtree(out, ignore_errors=True)
        for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
            shutil.copytree(self.base / name, out / name)
        result = copy.deepcopy(self.student)
        self.average.copy_to(result)
        folder.save_transformer(result, out)
        folder.write_index(out, is_distilled=True)


if __name__ == "__main__":
    main()
