r"""train_vae: the autoencoder that turns pictures into the latents the transformer works in.

Trains the real `AutoencoderKLQwenImage` on single pictures. Its causal 3-D convolutions then see
one frame only, so they are computed as 2-D convolutions with the last temporal slice, which is
exact and several times faster (`make_planar`). One step in four decodes a halved latent and is
compared with the halved picture: latents that shrink like pictures are easier to model.

    python -m inference.training.vae --config pocket --data data/pocket --base build/untrained \
        --out build/vae
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from torch import Tensor
from torch.nn import functional

from inference.training import folder, loop, pools
from inference.training.command import Command, parse
from inference.training.latents import (
    decode,
    make_planar,
    measure_latents,
    normalised,
    raw_latents,
    to_float,
)
from inference.training.paint import Atlas, render
from inference.training.scenes import sample
from inference.training.state import load_state, save_state
from inference.training.subjects import STYLES

# Latents begin with almost no noise; the KL term keeps their scale in bounds.
LOG_VARIANCE_RANGE = (-30.0, 20.0)
LOG_VARIANCE_START = -8.0
# Held-out scenes that the reported PSNR is measured on.
PSNR_PICTURES = 512


@dataclass(frozen=True)
class VaeConfig:
    """One VAE run. Counts are per process."""

    steps: int
    batch: int
    side: int
    crop: int
    pool: int
    pool_steps: int
    learning_rate: float = 1.5e-3
    warm_up: int = 100
    cool_down_share: float = 0.5
    kl_weight: float = 1e-5
    edge_weight: float = 0.5
    halved_share: float = 0.25
    compile: bool = True


def main() -> None:
    run(parse("Train the VAE."))


def run(command: Command) -> Path:
    """Train to the end (or until told to stop); returns the folder with VAE and tokenizer."""
    place = loop.open_place(command.device, command.out)
    journal = loop.Journal(place, "vae")
    config = VaeConfig(**command.section("vae"))
    atlas = pools.load_atlas(command.data, place.device)
    base = command.base
    assert base is not None, "--base names an untrained checkpoint folder"
    vae = AutoencoderKLQwenImage.from_pretrained(base / "vae", dtype=torch.float32)
    vae.to(place.device)
    training = VaeTraining(command, config, vae, atlas, place)
    stop = loop.Stop(place, command.seconds)
    journal.event(
        "start", parameters=sum(p.numel() for p in vae.parameters()), steps=training.total
    )
    finished = training.run_steps(journal, stop)
    if finished and place.first:
        measure_latents(vae, training.pool[: min(2048, len(training.pool))])
        psnr = reconstruction_psnr(vae, atlas, config.side)
        folder.save_module(vae, command.out / "checkpoint" / "vae")
        copy = command.out / "checkpoint" / "tokenizer"
        shutil.copytree(base / "tokenizer", copy, dirs_exist_ok=True)
        journal.event("finished", psnr_db=round(psnr, 2), step=training.step)
    loop.close_place(place)
    return command.out / "checkpoint"


class VaeTraining:
    """The state of a VAE run: what a checkpoint holds and what a step changes."""

    def __init__(
        self,
        command: Command,
        config: VaeConfig,
        vae: AutoencoderKLQwenImage,
        atlas: Atlas,
        place: loop.Place,
    ) -> None:
        self.command, self.config, self.vae, self.place = command, config, vae, place
        self.atlas = atlas
        make_planar(vae)
        self.encoder, self.decoder = vae.encoder, vae.decoder
        if config.compile and place.device.type == "cuda":
            self.encoder = torch.compile(vae.encoder, dynamic=False)
            self.decoder = torch.compile(vae.decoder, dynamic=False)
        self.optimizer = torch.optim.AdamW(
            vae.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
            fused=place.device.type == "cuda",
        )
        every_style = tuple(range(len(STYLES)))
        self.source = pools.Source(atlas, command.seed, place.rank, every_style)
        self.step, self.total = 0, command.steps or config.steps
        self.pool_number, self.pool = -1, torch.empty(0)
        if command.resume and (saved := load_state(command.out / "state")):
            vae.load_state_dict(saved["vae"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.total = saved["step"], saved["total"]

    def run_steps(self, journal: loop.Journal, stop: loop.Stop) -> bool:
        """Run the remaining steps; False when stopped early, with the state saved."""
        pace = loop.Pace(self.place, self.step, self.command.fit_seconds)
        while self.step < self.total:
            losses = self.advance()
            self.step += 1
            if (fitted := pace.fitted(self.step)) is not None:
                self.total = fitted
                journal.event("fitted", steps=fitted)
            if journal.due():
                values = {name: round(value.item(), 5) for name, value in losses.items()}
                speed = pace.per_second(self.step, self.config.batch)
                journal.event("step", step=self.step, crops_per_second=speed, **values)
            if stop.now(self.step):
                self.save()
                journal.event("stopped", step=self.step)
                return False
        self.save()
        return True

    def save(self) -> None:
        if self.place.first:
            tree = {
                "vae": self.vae.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "total": self.total,
            }
            save_state(self.command.out / "state", tree)

    def advance(self) -> dict[str, Tensor]:
        """One optimizer step; returns its losses, still on the device."""
        config = self.config
        generator = loop.step_generator(self.place, self.command.seed, self.step)
        crop = to_crops(self.batch(generator), config.crop, self.step)
        rate = loop.learning_rate(
            self.step,
            self.total,
            peak=config.learning_rate,
            warm_up=config.warm_up,
            cool_down=int(self.total * config.cool_down_share),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        halved = self.step % round(1 / config.halved_share) == 0 if config.halved_share else False
        with loop.half_precision(self.place.device):
            mean, log_variance = self.encode(crop)
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            z = mean + noise * (0.5 * log_variance).exp()
            target = crop
            if halved:
                z, target = functional.avg_pool2d(z, 2), functional.avg_pool2d(crop, 2)
            out = self.decoder(self.vae.post_quant_conv(z.unsqueeze(2)))[:, :, 0]
        losses = {"l1": functional.l1_loss(out.float(), target), "edge": edge_loss(out, target)}
        losses["kl"] = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss = losses["l1"] + config.edge_weight * losses["edge"] + config.kl_weight * losses["kl"]
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        loop.average_gradients(self.vae.parameters(), self.place)
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        return losses

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.vae.quant_conv(self.encoder(picture.unsqueeze(2)))[:, :, 0].float()
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, (log_variance + LOG_VARIANCE_START).clamp(*LOG_VARIANCE_RANGE)

    def batch(self, generator: torch.Generator) -> Tensor:
        """uint8 pictures of this step, from the pool that the step belongs to."""
        wanted = self.step // self.config.pool_steps
        if wanted != self.pool_number:
            drawn = self.source.chunks(wanted, self.config.pool)
            self.pool = pools.pictures(self.atlas, drawn, self.config.side)
            self.pool_number = wanted
        device = self.place.device
        rows = torch.randint(
            len(self.pool), (self.config.batch,), generator=generator, device=device
        )
        return self.pool[rows]


def to_crops(picture: Tensor, crop: int, step: int) -> Tensor:
    """Float crops: windows at full size on even steps, whole pictures made smaller on odd ones."""
    side = picture.shape[-1]
    if side == crop:
        return to_float(picture)
    if step % 2:
        return functional.interpolate(
            to_float(picture), size=(crop, crop), mode="bilinear", antialias=True
        )
    # A fixed walk over windows: every place is seen, and no random state is needed to resume.
    top, left = (step * 37) % (side - crop + 1), (step * 53) % (side - crop + 1)
    return to_float(picture[:, :, top : top + crop, left : left + crop])


def edge_loss(out: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical finite differences."""
    difference = out.float() - target
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    return across + (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKLQwenImage, atlas: Atlas, side: int) -> float:
    """PSNR in dB over held-out scenes (peak to peak 2)."""
    rng = np.random.default_rng(1)
    count = PSNR_PICTURES if atlas.device.type == "cuda" else 32
    scenes = sample(atlas, count, rng=rng, split="heldout", styles=tuple(range(len(STYLES))))
    total = 0.0
    for start in range(0, count, 32):
        picture = render(atlas, scenes[start : start + 32], side)
        out = decode(vae, normalised(vae, raw_latents(vae, picture)))
        total += functional.mse_loss(out, picture).item() * len(picture)
    return 10 * math.log10(4 / (total / count))


if __name__ == "__main__":
    main()
