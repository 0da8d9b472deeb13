r"""train_lora: a low-rank adapter on Raw from a folder of captioned pictures; it runs on Turbo.

The trainer knows a checkpoint folder and a picture folder, nothing of the pocket: the same command
trains on Krea 2 Raw. Text states and latents are computed once and cached, then only the
transformer stays in memory, with gradient checkpointing if wanted. Pictures keep their shape
(aspect buckets). The file is written by diffusers, so `load_lora_weights` takes it.

    python -m inference.training.lora --config pocket --base weights/pocket-raw \
        --data some/pictures --out build/lora
"""

import gc
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage, Krea2Pipeline, Krea2Transformer2DModel
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, Qwen3VLModel

from inference.training import flow, loop, text
from inference.training.command import Command, parse
from inference.training.latents import make_planar, normalised, raw_latents
from inference.training.picture_folder import Captioned, read_pictures
from inference.training.state import load_state, save_state

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "to_gate")
# "style" is the set that the model's authors recommend; "attention" drifts less in long runs.
PRESETS = {
    "style": (
        *ATTENTION,
        "ff.up",
        "ff.down",
        "img_in",
        "final_layer.linear",
        "text_fusion.projector",
        "txt_in.linear_1",
        "txt_in.linear_2",
        "time_embed.linear_1",
        "time_embed.linear_2",
        "time_mod_proj",
    ),
    "attention": ATTENTION,
}


@dataclass(frozen=True)
class AdapterConfig:
    """One LoRA run. `side` is that of a square picture; other shapes have about its area."""

    steps: int = 1000
    batch: int = 1
    side: int = 512
    rank: int = 32
    preset: str = "style"
    learning_rate: float = 3e-4
    warm_up: int = 20
    cool_down_share: float = 0.2
    weight_decay: float = 1e-4
    empty_captions: float = 0.05
    held_out_share: float = 0.05
    text_tokens: int = 512
    gradient_checkpointing: bool = False
    half_precision_base: bool = False
    save_every: int = 250


@dataclass(frozen=True)
class Example:
    """One cached picture: latent tokens (N, C), their grid, text states (L, 12, D)."""

    tokens: Tensor
    grid: tuple[int, int]
    states: Tensor


def main() -> None:
    run(parse("Train a LoRA on Raw."))


def run(command: Command) -> Path:
    """Train to the end (or until told to stop); returns the folder with the adapter's file."""
    place = loop.open_place(command.device, command.out)
    journal = loop.Journal(place, "lora")
    config = AdapterConfig(**command.section("lora"))
    base, data = command.base, command.data
    assert base is not None, "--base names Raw's checkpoint folder"
    assert data is not None, "--data names a folder of pictures with captions"
    pictures = read_pictures(data, config.side)
    journal.event("start", pictures=len(pictures), steps=command.steps or config.steps)
    examples, empty = cache(base, pictures, config, place.device)
    training = LoraTraining(command, config, base, examples, empty)
    stop = loop.Stop(place, command.seconds)
    finished = training.run_steps(journal, stop)
    journal.event("finished" if finished else "stopped", step=training.step)
    loop.close_place(place)
    return command.out / "adapter"


def base_dtype(config: AdapterConfig) -> torch.dtype:
    """bf16 for a base too large for fp32; the adapter itself is always fp32."""
    return torch.bfloat16 if config.half_precision_base else torch.float32


@torch.no_grad()
def cache(
    base: Path, pictures: list[Captioned], config: AdapterConfig, device: torch.device
) -> tuple[list[Example], Tensor]:
    """All pictures encoded, and the empty caption; one encoder is in memory at a time."""
    dtype = base_dtype(config)
    tokenizer = AutoTokenizer.from_pretrained(base / "tokenizer")
    encoder = Qwen3VLModel.from_pretrained(base / "text_encoder", dtype=dtype)
    encoder.visual = None
    reader = text.TextStates(encoder, tokenizer).to(device)
    states = []
    for caption in [*(picture.caption for picture in pictures), ""]:
        ids, counts = text.tokenize(tokenizer, [caption], config.text_tokens)
        ids = ids[:, : counts[0]]
        state, _ = reader(torch.from_numpy(ids).to(device), torch.from_numpy(counts).to(device))
        states.append(state[0])
    del encoder, reader
    gc.collect()
    vae = AutoencoderKLQwenImage.from_pretrained(base / "vae", dtype=torch.float32)
    vae.to(device)
    make_planar(vae)
    examples = []
    for picture, state in zip(pictures, states[:-1], strict=True):
        latents = normalised(vae, raw_latents(vae, picture.pixels[None].to(device)))
        rows, columns = (side // flow.PATCH for side in latents.shape[-2:])
        examples.append(Example(flow.pack(latents)[0], (rows, columns), state))
    return examples, states[-1]


class LoraTraining:
    """The state of a LoRA run: what a checkpoint holds and what a step changes."""

    def __init__(
        self,
        command: Command,
        config: AdapterConfig,
        base: Path,
        examples: list[Example],
        empty: Tensor,
    ) -> None:
        self.command, self.config, self.empty = command, config, empty
        self.device = examples[0].tokens.device
        self.buckets, self.held_out = split(examples, config.held_out_share)
        torch.manual_seed(command.seed)
        self.transformer = Krea2Transformer2DModel.from_pretrained(
            base / "transformer", dtype=base_dtype(config)
        ).to(self.device)
        add_adapter(self.transformer, config)
        if config.gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        self.parameters = [p for p in self.transformer.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step, self.total = 0, command.steps or config.steps
        if command.resume and (saved := load_state(command.out / "state")):
            set_peft_model_state_dict(self.transformer, saved["adapter"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]

    def run_steps(self, journal: loop.Journal, stop: loop.Stop) -> bool:
        """Run the remaining steps; False when stopped early. The state is saved either way."""
        pace = loop.Pace(loop.Place(self.device, 0, 1, self.command.out), self.step, None)
        while self.step < self.total:
            loss = self.advance()
            self.step += 1
            if journal.due():
                speed = (pace.elapsed() / (self.step - pace.first)) * (self.total - self.step)
                journal.event(
                    "step", step=self.step, loss=round(loss.item(), 5), seconds_left=round(speed)
                )
            if self.step % self.config.save_every == 0:
                self.save()
                journal.event("saved", step=self.step, held_out_loss=self.held_out_loss())
            if stop.now(self.step):
                break
        self.save()
        return self.step >= self.total

    def advance(self) -> Tensor:
        """One optimizer step on a batch from one bucket."""
        generator = loop.generator_of(self.command.seed, self.step, device=self.device)
        chooser = loop.generator_of(self.command.seed, self.step)
        sizes = torch.tensor([len(bucket) for bucket in self.buckets], dtype=torch.float)
        bucket = self.buckets[int(torch.multinomial(sizes, 1, generator=chooser))]
        rows = torch.randint(len(bucket), (self.config.batch,), generator=chooser).tolist()
        loss = self.loss([bucket[row] for row in rows], generator, self.config.empty_captions)
        rate = loop.learning_rate(
            self.step,
            self.total,
            peak=self.config.learning_rate,
            warm_up=self.config.warm_up,
            cool_down=int(self.total * self.config.cool_down_share),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.detach()

    def loss(
        self, examples: list[Example], generator: torch.Generator, empty_share: float
    ) -> Tensor:
        """Mean squared velocity error of examples that share one grid."""
        x0 = torch.stack([example.tokens for example in examples])
        rows, columns = examples[0].grid
        dropped = torch.rand(len(x0), generator=generator, device=self.device) < empty_share
        states, mask = pad(
            [
                self.empty if drop else example.states
                for example, drop in zip(examples, dropped.tolist(), strict=True)
            ]
        )
        t = flow.sample_times(len(x0), flow.shift_of(rows * columns), generator, self.device)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.half_precision_base
        ):
            velocity = self.transformer(
                hidden_states=flow.add_noise(x0, noise, t).to(states.dtype),
                encoder_hidden_states=states,
                timestep=t,
                position_ids=flow.positions(states.shape[1], rows, columns, self.device),
                encoder_attention_mask=mask,
                return_dict=False,
            )[0]
        return functional.mse_loss(velocity.float(), noise - x0)

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Loss on the pictures kept apart, at the same times and noise on every call."""
        if not self.held_out:
            return None
        losses = [
            self.loss([example], loop.generator_of(number, device=self.device), 0.0).item()
            for number, example in enumerate(self.held_out * 4)
        ]
        return round(sum(losses) / len(losses), 5)

    def save(self) -> None:
        """The state to resume from, and the adapter as diffusers writes it."""
        adapter = get_peft_model_state_dict(self.transformer)
        tree = {"adapter": adapter, "optimizer": self.optimizer.state_dict(), "step": self.step}
        save_state(self.command.out / "state", tree)
        out = self.command.out / "adapter"
        Krea2Pipeline.save_lora_weights(
            out,
            transformer_lora_layers={key: value.half() for key, value in adapter.items()},
            **_collate_lora_metadata({"transformer": self.transformer}),
        )
        record = {"steps": self.step, "seed": self.command.seed, "rank": self.config.rank}
        (out / "training.json").write_text(json.dumps(record) + "\n")


def add_adapter(transformer: Krea2Transformer2DModel, config: AdapterConfig) -> None:
    """Freeze the transformer and put fp32 adapters on the preset's linear layers."""
    transformer.requires_grad_(requires_grad=False)
    transformer.add_adapter(
        LoraConfig(
            r=config.rank,
            lora_alpha=config.rank,
            init_lora_weights="gaussian",
            target_modules=list(PRESETS[config.preset]),
        )
    )
    cast_training_params(transformer, dtype=torch.float32)


def split(
    examples: list[Example], held_out_share: float
) -> tuple[list[list[Example]], list[Example]]:
    """Buckets of equal grid to train on, and every n-th picture kept apart."""
    every = round(1 / held_out_share) if held_out_share > 0 else math.inf
    buckets: dict[tuple[int, int], list[Example]] = defaultdict(list)
    held_out = []
    for number, example in enumerate(examples, start=1):
        if number % every == 0:
            held_out.append(example)
        else:
            buckets[example.grid].append(example)
    return list(buckets.values()), held_out


def pad(states: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Stack text states of different lengths; the mask is None when they are equally long."""
    longest = max(len(state) for state in states)
    padded = [functional.pad(state, (0, 0, 0, 0, 0, longest - len(state))) for state in states]
    if all(len(state) == longest for state in states):
        return torch.stack(padded), None
    lengths = torch.tensor([len(state) for state in states], device=states[0].device)
    mask = torch.arange(longest, device=states[0].device)[None, :] < lengths[:, None]
    return torch.stack(padded), mask


if __name__ == "__main__":
    main()
