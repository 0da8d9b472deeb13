r"""train_raw: the transformer and its text encoder, jointly, by rectified flow.

Velocity target, logit-normal times with the pipeline's resolution-aware shift, one caption in ten
left empty so that guidance works, an average of the weights as the result. Stages go from small
pictures to large ones. The transformer's matrices are trained by Muon, the rest by AdamW. Within
the first minute the journal shows the speed and the *caption gap*: the loss with captions swapped
among pictures less the loss with the right ones. If it stays near zero the text is not being read.

    torchrun --nproc-per-node 2 -m inference.training.raw --config pocket --data data/pocket \
        --base build/vae/checkpoint --out build/raw
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.training import flow, folder, loop, pools, text
from inference.training.command import Command, parse
from inference.training.latents import make_planar
from inference.training.muon import Muon, split_matrices
from inference.training.paint import Atlas
from inference.training.pools import Stage
from inference.training.state import load_state, save_state

# The caption gap is measured at this noise level, where the caption matters most.
GAP_TIME = 0.85
GAP_EVERY = 200


@dataclass(frozen=True)
class RawConfig:
    """One Raw run."""

    stages: tuple[Stage, ...]
    text_tokens: int
    optimizer: str = "muon"
    learning_rate: float = 1.5e-3
    muon_rate: float = 0.015
    weight_decay: float = 0.01
    warm_up: int = 200
    cool_down_share: float = 0.3
    average: float = 0.999
    empty_captions: float = 0.1
    compile: bool = True
    graph: bool = True
    save_every_seconds: float = 240.0

    @classmethod
    def read(cls, section: dict[str, Any]) -> "RawConfig":
        stages = tuple(Stage(**stage) for stage in section["stages"])
        return cls(**{**section, "stages": stages})


def main() -> None:
    run(parse("Train Raw: transformer and text encoder."))


def run(command: Command) -> Path:
    """Train to the end (or until told to stop); returns the finished checkpoint folder."""
    place = loop.open_place(command.device, command.out)
    journal = loop.Journal(place, "raw")
    atlas = pools.load_atlas(command.data, place.device)
    base = command.base
    assert base is not None, "--base names the folder with the VAE and tokenizer"
    training = RawTraining(command, base, atlas, place)
    stop = loop.Stop(place, command.seconds)
    counts = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in (("transformer", training.transformer), ("text", training.text))
    }
    journal.event("start", step=training.step, steps=training.total, parameters=counts)
    finished = training.run_steps(journal, stop)
    if place.first:
        training.write_checkpoint(command.out / "checkpoint")
    journal.event("finished" if finished else "stopped", step=training.step)
    loop.close_place(place)
    return command.out / "checkpoint"


class RawTraining:
    """The state of a Raw run: what a checkpoint holds and what a step changes."""

    def __init__(self, command: Command, base: Path, atlas: Atlas, place: loop.Place) -> None:
        self.command, self.place, self.atlas = command, place, atlas
        self.config = RawConfig.read(command.section("raw"))
        self.parts = untrained_or_base(command, base)
        self.transformer = self.parts.transformer.to(place.device).train()
        self.text = text.TextStates(self.parts.text_encoder, self.parts.tokenizer).to(place.device)
        vae = self.parts.vae.to(place.device).eval()
        make_planar(vae)
        self.model = nn.ModuleDict({"transformer": self.transformer, "text": self.text})
        self.average = loop.Average(self.model, self.config.average)
        self.optimizers = self.make_optimizers()
        tokens = self.config.text_tokens
        source = pools.Source(atlas, command.seed, place.rank, None, self.parts.tokenizer, tokens)
        self.pools = pools.LatentPools(source, vae)
        empty, count = text.tokenize(self.parts.tokenizer, [""], tokens)
        self.empty = torch.from_numpy(empty).to(place.device), int(count[0])
        self.step = 0
        self.stage_steps = [stage.steps for stage in self.config.stages]
        self.captured: tuple[Stage, loop.Captured] | None = None
        if command.resume and (saved := load_state(command.out / "state")):
            self.restore(saved)
        if self.config.compile and place.device.type == "cuda":
            self.compile()

    def compile(self) -> None:
        """Compile the repeated blocks only: seconds, where the whole graph takes minutes."""
        for block in (*self.transformer.transformer_blocks, *self.fusion_blocks()):
            block.compile(dynamic=False)
        self.text.compile_layers()

    def fusion_blocks(self) -> list[nn.Module]:
        fusion = self.transformer.text_fusion
        return [*fusion.layerwise_blocks, *fusion.refiner_blocks]

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        config = self.config
        blocks = [*self.transformer.transformer_blocks, *self.fusion_blocks()]
        matrices, _ = split_matrices([*blocks, *self.text.encoder.layers])
        if config.optimizer == "adamw":
            matrices = []
        chosen = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in chosen]
        adamw = torch.optim.AdamW(
            others,
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=self.place.device.type == "cuda",
        )
        if not matrices:
            return [adamw]
        return [adamw, Muon(matrices, lr=config.muon_rate, weight_decay=config.weight_decay)]

    @property
    def total(self) -> int:
        """All steps of all stages."""
        return self.command.steps or sum(self.stage_steps)

    def run_steps(self, journal: loop.Journal, stop: loop.Stop) -> bool:
        """Run the remaining steps; False when stopped early. The state is saved either way."""
        whole = loop.Pace(self.place, self.step, None)
        number, _ = self.stage_of(self.step)
        pace = self.stage_pace(whole, number)
        samples, saved_at = 0, 0.0
        while self.step < self.total:
            current, within = self.stage_of(self.step)
            if current != number:
                number, pace = current, self.stage_pace(whole, current)
            stage = self.config.stages[number]
            loss = self.advance(stage, within)
            samples += stage.batch * self.place.world
            self.step += 1
            self.refit(journal, pace, number)
            if journal.due():
                speed = round(samples / whole.elapsed())
                values = {"side": stage.side, "samples_per_second": speed, "samples": samples}
                journal.event("step", step=self.step, loss=round(loss.item(), 5), **values)
            if self.step % GAP_EVERY == 0:
                journal.event("caption_gap", step=self.step, gap=round(self.caption_gap(stage), 4))
            if whole.elapsed() - saved_at > self.config.save_every_seconds:
                saved_at = whole.elapsed()
                self.save()
                journal.event("saved", step=self.step)
            if stop.now(self.step):
                break
        self.save()
        return self.step >= self.total

    def stage_pace(self, whole: loop.Pace, number: int) -> loop.Pace:
        """With `--fit-seconds`, a stage may take its share of the time that is left."""
        if self.command.fit_seconds is None:
            return loop.Pace(self.place, self.step, None)
        left = self.command.fit_seconds - whole.elapsed()
        shares = [stage.share for stage in self.config.stages[number:]]
        return loop.Pace(self.place, self.step, left * shares[0] / sum(shares))

    def refit(self, journal: loop.Journal, pace: loop.Pace, number: int) -> None:
        """Set this stage's number of steps from its measured speed; later ones by their size."""
        stage = self.config.stages[number]
        fitted = pace.fitted(self.step, self.pools.seconds / stage.pool_steps)
        if fitted is None:
            return
        done = sum(self.stage_steps[:number])
        self.stage_steps[number] = fitted - done
        for later in range(number + 1, len(self.stage_steps)):
            other = self.config.stages[later]
            work = (other.batch * other.side**2) / (stage.batch * stage.side**2)
            share = other.share / stage.share
            self.stage_steps[later] = int(self.stage_steps[number] * share / work)
        journal.event("fitted", stages=self.stage_steps, pool_seconds=round(self.pools.seconds, 2))

    def stage_of(self, step: int) -> tuple[int, int]:
        """The stage that a step belongs to, and the step's number within it; the last is open."""
        for number, steps in enumerate(self.stage_steps[:-1]):
            if step < steps:
                return number, step
            step -= steps
        return len(self.stage_steps) - 1, step

    def advance(self, stage: Stage, within: int) -> Tensor:
        """One optimizer step; returns the loss, still on the device."""
        config = self.config
        generator = loop.step_generator(self.place, self.command.seed, self.step)
        x0, ids, counts = self.pools.batch(stage, within)
        dropped = torch.rand(len(x0), generator=generator, device=x0.device) < config.empty_captions
        ids = torch.where(dropped[:, None], self.empty[0], ids)
        counts = torch.where(dropped, self.empty[1], counts)
        t = flow.sample_times(len(x0), flow.shift_of(stage.grid**2), generator, x0.device)
        # Times come sorted; a pool's rows are shuffled already, so pairing them is still random.
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        loss = self.gradients(stage)(x0, noise, t, ids, counts)
        loop.average_gradients(self.model.parameters(), self.place)
        adamw = [p for group in self.optimizers[0].param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(adamw, 1.0)
        for optimizer, peak in zip(
            self.optimizers, (config.learning_rate, config.muon_rate), strict=False
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
            optimizer.step()
        self.average.update(self.step)
        return loss

    def gradients(self, stage: Stage) -> loop.Captured:
        """A stage's function (x0, noise, t, ids, counts) -> loss, which also sets gradients."""
        if self.captured is None or self.captured[0] != stage:

            def compute(
                x0: Tensor, noise: Tensor, t: Tensor, ids: Tensor, counts: Tensor
            ) -> Tensor:
                loop.clear_gradients(self.model.parameters())
                loss = self.loss(stage, x0, noise, t, (ids, counts))
                torch.autograd.backward(loss)
                return loss.detach()

            enabled = self.config.graph and self.place.device.type == "cuda"
            self.captured = None  # gives the earlier stage's memory back first
            self.captured = (stage, loop.Captured(compute, enabled=enabled))
        return self.captured[1]

    def loss(
        self, stage: Stage, x0: Tensor, noise: Tensor, t: Tensor, caption: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Mean squared error of the velocity."""
        place = flow.positions(caption[0].shape[1], stage.grid, stage.grid, x0.device)
        with loop.half_precision(self.place.device):
            states, mask = self.text(*caption)
            velocity = self.transformer(
                hidden_states=flow.add_noise(x0, noise, t),
                encoder_hidden_states=states,
                timestep=t,
                position_ids=place,
                encoder_attention_mask=mask,
                return_dict=False,
            )[0]
        return functional.mse_loss(velocity.float(), noise - x0)

    def caption_gap(self, stage: Stage) -> float:
        """Loss with each picture given its neighbour's caption, less the loss with its own."""
        generator = loop.step_generator(self.place, self.command.seed + 1, self.step)
        x0, ids, counts = self.pools.batch(stage, self.stage_of(self.step - 1)[1])
        t = torch.full((len(x0),), GAP_TIME, device=x0.device)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        # Gradients stay on: compiled blocks would be compiled once more without them.
        right = self.loss(stage, x0, noise, t, (ids, counts)).detach()
        wrong = self.loss(stage, x0, noise, t, (ids.roll(1, 0), counts.roll(1, 0))).detach()
        return (wrong - right).item()

    def save(self) -> None:
        """Everything that the next step depends on, once for all processes."""
        if not self.place.first:
            return
        tree = {
            "model": dict(self.model.named_parameters()),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "stage_steps": self.stage_steps,
        }
        save_state(self.command.out / "state", tree)

    @torch.no_grad()
    def restore(self, saved: dict[str, Any]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(saved["model"][name])
        self.average.load_state_dict(saved["average"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step = saved["step"]
        if len(saved["stage_steps"]) == len(self.stage_steps):
            self.stage_steps = saved["stage_steps"]

    @torch.no_grad()
    def write_checkpoint(self, out: Path) -> None:
        """The averaged weights as a complete checkpoint folder."""
        trained = [p.detach().clone() for p in self.model.parameters()]
        self.average.copy_to(self.model)
        shutil.rmtree(out, ignore_errors=True)
        folder.save(self.parts, out, is_distilled=False)
        for parameter, value in zip(self.model.parameters(), trained, strict=True):
            parameter.copy_(value)


def untrained_or_base(command: Command, base: Path) -> folder.Parts:
    """Start from a whole checkpoint folder, or build around one that has only VAE and tokenizer."""
    if (base / "transformer").exists():
        return folder.load(base)
    return folder.build_around(command.config["model"], base, command.seed)


if __name__ == "__main__":
    main()
