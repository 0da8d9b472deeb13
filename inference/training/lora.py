r"""train_lora: a low-rank adapter on Raw from a folder of captioned pictures; it runs on Turbo.

The trainer knows a checkpoint folder and a picture folder, nothing of the pocket: the same command
trains on Krea 2 Raw. Text states and latents are computed once and cached, then only the
transformer stays in memory, with gradient checkpointing if wanted. Pictures keep their shape
(aspect buckets). The file is written by diffusers, so `load_lora_weights` takes it.

    python -m inference.training.lora --config pocket --base weights/pocket-raw \
        --data some/pictures --out build/lora
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import functional

from inference.training import flow, loop, recorded
from inference.training.command import Command, parse
from inference.training.examples import Example, cache, pad, split
from inference.training.loop import generator_of
from inference.training.picture_folder import read_pictures
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
    time_shift: float | None = None  # mu of the training times; None = that of the picture's size
    graph: bool = False  # replay recorded steps: for small models, whose kernels are short
    gradient_checkpointing: bool = False
    half_precision_base: bool = False
    save_every: int = 250


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
    dtype = base_dtype(config)
    examples, empty = cache(base, pictures, config.text_tokens, dtype, place.device)
    training = LoraTraining(command, config, base, examples, empty)
    stop = loop.Stop(place, command.seconds)
    finished = training.run_steps(journal, stop)
    journal.event("finished" if finished else "stopped", step=training.step)
    loop.close_place(place)
    return command.out / "adapter"


def base_dtype(config: AdapterConfig) -> torch.dtype:
    """bf16 for a base too large for fp32; the adapter itself is always fp32."""
    return torch.bfloat16 if config.half_precision_base else torch.float32


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
        recorded.make_gradients(self.parameters)
        self.gradients = recorded.Recorded(
            self.compute_gradients,
            recorded.Pool(self.device),
            enabled=config.graph and self.device.type == "cuda",
        )
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
        generator = generator_of(self.command.seed, self.step, device=self.device)
        chooser = generator_of(self.command.seed, self.step)
        sizes = torch.tensor([len(bucket) for bucket in self.buckets], dtype=torch.float)
        bucket = self.buckets[int(torch.multinomial(sizes, 1, generator=chooser))]
        rows = torch.randint(len(bucket), (self.config.batch,), generator=chooser).tolist()
        batch = self.batch([bucket[row] for row in rows], generator, self.config.empty_captions)
        loss = self.gradients(*batch)
        rate = loop.learning_rate(
            self.step,
            self.total,
            peak=self.config.learning_rate,
            warm_up=self.config.warm_up,
            cool_down=int(self.total * self.config.cool_down_share),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss

    def batch(
        self, examples: list[Example], generator: torch.Generator, empty_share: float
    ) -> tuple[Tensor, ...]:
        """Tokens, noise, times, positions, text states and mask of examples that share a grid."""
        x0 = torch.stack([example.tokens for example in examples])
        rows, columns = examples[0].grid
        dropped = torch.rand(len(x0), generator=generator, device=self.device) < empty_share
        states, mask = pad(
            [
                self.empty if drop else example.states
                for example, drop in zip(examples, dropped.tolist(), strict=True)
            ],
            self.config.text_tokens if self.config.graph else None,
        )
        mu = self.config.time_shift
        mu = flow.shift_of(rows * columns) if mu is None else mu
        t = flow.sample_times(len(x0), mu, generator, self.device)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        place = flow.positions(states.shape[1], rows, columns, self.device)
        return (
            (x0, noise, t, place, states) if mask is None else (x0, noise, t, place, states, mask)
        )

    def compute_gradients(self, *batch: Tensor) -> Tensor:
        """The loss of a batch; sets the adapter's gradients."""
        recorded.clear_gradients(self.parameters)
        loss = self.loss(*batch)
        torch.autograd.backward(loss)
        return loss.detach()

    def loss(self, *batch: Tensor) -> Tensor:
        """Mean squared velocity error of what `batch` made."""
        x0, noise, t, place, states, *mask = batch
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.half_precision_base
        ):
            velocity = self.transformer(
                hidden_states=flow.add_noise(x0, noise, t).to(states.dtype),
                encoder_hidden_states=states,
                timestep=t,
                position_ids=place,
                encoder_attention_mask=mask[0] if mask else None,
                return_dict=False,
            )[0]
        return functional.mse_loss(velocity.float(), noise - x0)

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Loss on the pictures kept apart, at the same times and noise on every call."""
        if not self.held_out:
            return None
        losses = [
            self.loss(*self.batch([example], generator_of(number, device=self.device), 0.0)).item()
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


if __name__ == "__main__":
    main()
