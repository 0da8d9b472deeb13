r"""distil_turbo: few-step sampling without guidance, by Trajectory Distribution Matching.

Three networks start from Raw: the teacher (frozen), the student, and a critic that follows the
student's distribution. The student is rolled out along its own few-step grid; at a random step its
clean estimate is moved along (teacher with guidance - critic), which matches the distributions of
the trajectory at that step (Luo et al. 2025, arXiv 2503.06674). No pictures are needed, captions
only. Most iterations use the 8-step grid, the others the 4-step grid, so that both work.

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
from diffusers import Krea2Transformer2DModel
from torch import Tensor

from inference.training import flow, folder, loop, pools, text
from inference.training.command import Command, parse
from inference.training.state import load_state, save_state

# The critic's loss is weighted by the signal-to-noise ratio, but no more than this.
SNR_MAX = 5.0
PSEUDO_HUBER = 1e-3


@dataclass(frozen=True)
class TurboConfig:
    """One distillation. Counts are per process."""

    iterations: int
    batch: int
    side: int
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
        self.config = TurboConfig(**command.section("turbo"))
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
        self.rows = self.config.side // flow.LATENT_SCALE // flow.PATCH
        self.nothing: tuple[Tensor, Tensor] | None = None
        graphs = self.config.graph and fused
        self.predict = loop.Captured(self.student_velocity, enabled=graphs)
        self.read = loop.Captured(self.read_captions, enabled=graphs)
        self.critic_gradients = loop.Captured(self.critic_loss, enabled=graphs)
        self.student_gradients = loop.Captured(self.student_loss, enabled=graphs)
        if command.resume and (saved := load_state(command.out / "state")):
            self.restore(saved)
        if self.config.compile and fused:
            for net in (self.teacher, self.student, self.critic):
                for block in net.transformer_blocks:
                    block.compile(dynamic=False)
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
        caption = self.captions()
        shape = (config.batch, self.rows**2, self.student.config.in_channels)
        noise = torch.randn(shape, generator=generator, device=self.place.device)
        path = self.roll_out(noise, levels, caption)
        grid = torch.tensor(levels).to(self.place.device)
        self.set_rates()
        losses = {}
        for name, function, net, optimizer in (
            ("critic", self.critic_gradients, self.critic, self.critic_optimizer),
            ("student", self.student_gradients, self.student, self.student_optimizer),
        ):
            k = torch.randint(
                len(levels) - 1, (config.batch,), generator=generator, device=grid.device
            )
            row = torch.arange(config.batch, device=grid.device)
            share = torch.rand(config.batch, generator=generator, device=grid.device)
            fresh = torch.randn(shape, generator=generator, device=grid.device)
            times = torch.stack([grid[k], grid[k + 1], share])
            loss = function(path[k, row], path[k + 1, row], times, fresh, *caption)
            loop.average_gradients(net.parameters(), self.place)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses[name] = loss.clone()
        self.average.update(self.step)
        return losses

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
    def captions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Text states and mask of this iteration's captions, then of the empty caption."""
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
        nothing, nothing_mask = self.nothing
        return states, mask, nothing.expand(size, -1, -1, -1), nothing_mask.expand(size, -1)

    def read_captions(self, ids: Tensor, counts: Tensor) -> Tensor:
        with torch.no_grad(), loop.half_precision(self.place.device):
            states: Tensor = self.text(ids, counts)[0]
            return states

    def velocity(
        self, net: Krea2Transformer2DModel, x: Tensor, t: Tensor, caption: tuple[Tensor, Tensor]
    ) -> Tensor:
        """A network's velocity (B, N, C) in fp32 at times t (B,)."""
        place = flow.positions(caption[0].shape[1], self.rows, self.rows, x.device)
        with loop.half_precision(self.place.device):
            out: Tensor = net(
                hidden_states=x,
                encoder_hidden_states=caption[0],
                timestep=t,
                position_ids=place,
                encoder_attention_mask=caption[1],
                return_dict=False,
            )[0]
        return out.float()

    def student_velocity(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            return self.velocity(self.student, x, t, (states, mask))

    def roll_out(self, noise: Tensor, levels: list[float], caption: tuple[Tensor, ...]) -> Tensor:
        """The student's states at all levels: (K + 1, B, N, C)."""
        states = [noise]
        for level, following in pairwise(levels):
            t = torch.full((len(noise),), level, device=noise.device)
            velocity = self.predict(states[-1], t, caption[0], caption[1])
            states.append(states[-1] + (following - level) * velocity)
        return torch.stack(states)

    def critic_loss(
        self, start: Tensor, reached: Tensor, times: Tensor, fresh: Tensor, *caption: Tensor
    ) -> Tensor:
        """Teach the critic the student's clean estimates from re-noised states of its path."""
        now, following, share = times
        velocity = (reached - start) / _column(following - now)
        clean = start - _column(now) * velocity
        tau, noisy = renoise(reached, (now, following), share, fresh)
        told = self.velocity(self.critic, noisy, tau, (caption[0], caption[1]))
        guess = noisy - _column(tau) * told
        weight = (((1 - tau) / tau) ** 2).clamp(max=SNR_MAX)
        loss = (weight * ((guess - clean) ** 2).mean(dim=(1, 2))).mean()
        loop.clear_gradients(self.critic.parameters())
        torch.autograd.backward(loss)
        return loss.detach()

    def student_loss(
        self, start: Tensor, _: Tensor, times: Tensor, fresh: Tensor, *caption: Tensor
    ) -> Tensor:
        """Move the student's clean estimate from the critic's towards the guided teacher's."""
        now, following, share = times
        right, empty = (caption[0], caption[1]), (caption[2], caption[3])
        velocity = self.velocity(self.student, start, now, right)
        clean = start - _column(now) * velocity
        with torch.no_grad():
            reached = start + _column(following - now) * velocity
            tau, noisy = renoise(reached, (now, following), share, fresh)
            told = flow.guided(
                self.velocity(self.teacher, noisy, tau, right),
                self.velocity(self.teacher, noisy, tau, empty),
                self.config.guidance,
            )
            teacher = noisy - _column(tau) * told
            critic = noisy - _column(tau) * self.velocity(self.critic, noisy, tau, right)
            goal = clean + teacher - critic
            scale = (clean - teacher).abs().mean(dim=(1, 2), keepdim=True).clamp(min=1e-4)
        huber = ((clean - goal) ** 2 + PSEUDO_HUBER**2).sqrt() - PSEUDO_HUBER
        loss = (huber / scale).mean()
        loop.clear_gradients(self.student.parameters())
        torch.autograd.backward(loss)
        return loss.detach()

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


def renoise(
    x: Tensor, between: tuple[Tensor, Tensor], share: Tensor, fresh: Tensor
) -> tuple[Tensor, Tensor]:
    """Carry states at the lower of two levels forward to a level tau between them.

    x_tau = a x + b e with a = (1 - tau) / (1 - s), b^2 = tau^2 - a^2 s^2, s the lower level and
    `fresh` the noise e.
    """
    now, following = between
    # tau = 1 would leave no signal at all, tau = s no noise to remove.
    tau = following + (now - following) * share.clamp(0.02, 0.98)
    a = (1 - tau) / (1 - following)
    b = (tau**2 - (a * following) ** 2).clamp(min=0).sqrt()
    return tau, _column(a) * x + _column(b) * fresh


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


if __name__ == "__main__":
    main()
