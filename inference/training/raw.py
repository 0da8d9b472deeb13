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

from inference.training import alignment, flow, folder, loop, pools, recorded, text
from inference.training.command import Command, parse
from inference.training.latents import make_planar
from inference.training.muon import make_optimizers
from inference.training.paint import Atlas
from inference.training.stages import Schedule, Stage
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
    train_text: bool = True  # a later stage may keep the text encoder as it is
    align_with: str | None = None  # folder of an encoder: switches representation alignment on
    align_block: int = 3
    align_weight: float = 0.5
    compile: bool = True
    graph: bool = True
    save_every_seconds: float = 240.0

    @classmethod
    def read(cls, section: dict[str, Any]) -> "RawConfig":
        stages = tuple(Stage.read(stage) for stage in section["stages"])
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
    steps = training.schedule.total
    journal.event("start", step=training.step, steps=steps, parameters=counts)
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
        self.text.requires_grad_(requires_grad=self.config.train_text)
        self.model = nn.ModuleDict({"transformer": self.transformer})
        if self.config.train_text:
            self.model["text"] = self.text
        encoder, self.alignment = None, None
        if self.config.align_with is not None:
            encoder = alignment.Encoder(Path(self.config.align_with), place.device)
            self.alignment = alignment.Alignment(self.transformer, self.config.align_block)
            self.model["alignment"] = self.alignment.to(place.device)
        self.average = loop.Average(self.model, self.config.average)
        self.optimizers = make_optimizers(
            self.model,
            [
                *self.transformer.transformer_blocks,
                *self.fusion_blocks(),
                *(self.text.encoder.layers if self.config.train_text else []),
            ],
            (self.config.learning_rate, self.config.muon_rate, self.config.weight_decay),
            muon=self.config.optimizer == "muon",
        )
        tokens = self.config.text_tokens
        source = pools.Source(atlas, command.seed, place.rank, None, self.parts.tokenizer, tokens)
        self.pools = pools.LatentPools(source, vae, encoder)
        empty, count = text.tokenize(self.parts.tokenizer, [""], tokens)
        self.empty = torch.from_numpy(empty).to(place.device), int(count[0])
        self.step = 0
        self.schedule = Schedule(self.config.stages, command.steps, command.fit_seconds)
        recorded.make_gradients(self.model.parameters())
        self.gradients = recorded.Recorded(
            self.compute_gradients,
            recorded.Pool(place.device),
            enabled=self.config.graph and place.device.type == "cuda",
        )
        if command.resume and (saved := load_state(command.out / "state")):
            self.restore(saved)
        if self.config.compile and place.device.type == "cuda":
            recorded.compile_blocks(self.transformer.transformer_blocks, self.fusion_blocks())
            self.text.compile_layers()

    def fusion_blocks(self) -> list[nn.Module]:
        """The repeated blocks that the captions pass before the image's."""
        fusion = self.transformer.text_fusion
        return [*fusion.layerwise_blocks, *fusion.refiner_blocks]

    def run_steps(self, journal: loop.Journal, stop: loop.Stop) -> bool:
        """Run the remaining steps; False when stopped early. The state is saved either way."""
        schedule = self.schedule
        whole = loop.Pace(self.place, self.step, None)
        number, pace, samples, saved_at = -1, whole, 0, 0.0
        while self.step < schedule.total:
            current, within = schedule.stage_of(self.step)
            if current != number:
                number, pace = current, schedule.pace(whole, self.place, self.step)
            stage = self.config.stages[number]
            loss = self.advance(stage, within)
            samples += stage.batch * self.place.world
            self.step += 1
            if schedule.refit(pace, self.step, self.pools.seconds):
                journal.event("fitted", stages=schedule.steps, pool_seconds=self.pools.seconds)
            if journal.due():
                speed = round(samples / whole.elapsed())
                values = {"part": number, "samples_per_second": speed, "samples": samples}
                journal.event("step", step=self.step, loss=round(loss.item(), 5), **values)
            if self.step % GAP_EVERY == 0:
                journal.event("caption_gap", step=self.step, gap=self.caption_gap(stage, within))
            if whole.elapsed() - saved_at > self.config.save_every_seconds:
                saved_at = whole.elapsed()
                self.save()
                journal.event("saved", step=self.step)
            if stop.now(self.step):
                break
        self.save()
        return self.step >= schedule.total

    def advance(self, stage: Stage, within: int) -> Tensor:
        """One optimizer step; returns the loss, still on the device."""
        config = self.config
        generator = loop.step_generator(self.place, self.command.seed, self.step)
        batch = self.pools.batch(stage, within)
        x0, ids, counts = batch.latents, batch.ids, batch.counts
        dropped = torch.rand(len(x0), generator=generator, device=x0.device) < config.empty_captions
        ids = torch.where(dropped[:, None], self.empty[0], ids)
        counts = torch.where(dropped, self.empty[1], counts)
        t = flow.sample_times(len(x0), flow.shift_of(x0.shape[1]), generator, x0.device)
        # Times come sorted; a pool's rows are shuffled already, so pairing them is still random.
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        features = () if batch.features is None else (batch.features,)
        place = self.positions(stage, batch.grid)
        loss = self.gradients(x0, noise, t, ids, counts, place, *features)
        loop.average_gradients(self.model.parameters(), self.place)
        adamw = [p for group in self.optimizers[0].param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(adamw, 1.0)
        for optimizer, peak in zip(
            self.optimizers, (config.learning_rate, config.muon_rate), strict=False
        ):
            rate = loop.learning_rate(
                self.step,
                self.schedule.total,
                peak=peak,
                warm_up=config.warm_up,
                cool_down=int(self.schedule.total * config.cool_down_share),
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self.average.update(self.step)
        return loss

    def positions(self, stage: Stage, grid: flow.Grid) -> Tensor:
        """Positions of padded text and image: as many rows for every shape of the stage."""
        length = stage.tokens + self.config.text_tokens
        return flow.positions(length - grid[0] * grid[1], *grid, self.place.device)

    def compute_gradients(self, *inputs: Tensor) -> Tensor:
        """(x0, noise, t, ids, counts, positions[, features]) -> loss; sets the gradients."""
        recorded.clear_gradients(self.model.parameters())
        x0, noise, t, ids, counts, place, *features = inputs
        loss = self.loss(x0, noise, t, (ids, counts), place)
        extra = 0 if self.alignment is None else self.alignment(*features)
        torch.autograd.backward(loss + self.config.align_weight * extra)
        return loss.detach()

    def loss(
        self, x0: Tensor, noise: Tensor, t: Tensor, caption: tuple[Tensor, Tensor], place: Tensor
    ) -> Tensor:
        """Mean squared error of the velocity."""
        with loop.half_precision(self.place.device):
            with torch.set_grad_enabled(self.config.train_text and torch.is_grad_enabled()):
                states, mask = self.text(*caption)
            states, mask = flow.padded(states, mask, len(place) - x0.shape[1])
            velocity = self.transformer(
                hidden_states=flow.add_noise(x0, noise, t),
                encoder_hidden_states=states,
                timestep=t,
                position_ids=place,
                encoder_attention_mask=mask,
                return_dict=False,
            )[0]
        return functional.mse_loss(velocity.float(), noise - x0)

    def caption_gap(self, stage: Stage, within: int) -> float:
        """Loss with each picture given its neighbour's caption, less the loss with its own."""
        generator = loop.step_generator(self.place, self.command.seed + 1, self.step)
        batch = self.pools.batch(stage, within)
        x0, ids, counts = batch.latents, batch.ids, batch.counts
        t = torch.full((len(x0),), GAP_TIME, device=x0.device)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        place = self.positions(stage, batch.grid)
        # Gradients stay on: compiled blocks would be compiled once more without them.
        right = self.loss(x0, noise, t, (ids, counts), place).detach()
        swapped = (ids.roll(1, 0), counts.roll(1, 0))
        wrong = self.loss(x0, noise, t, swapped, place).detach()
        return round((wrong - right).item(), 4)

    def save(self) -> None:
        """Everything that the next step depends on, once for all processes."""
        if not self.place.first:
            return
        tree = {
            "model": dict(self.model.named_parameters()),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "stage_steps": self.schedule.steps,
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
        if len(saved["stage_steps"]) == len(self.schedule.steps):
            self.schedule.steps = saved["stage_steps"]

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
