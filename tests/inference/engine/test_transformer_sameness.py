"""The fused transformer computes what Krea 2's formulas say, however it is laid out."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Transformer2DModel
from torch import Tensor

from inference import models
from inference.bench import full_size
from inference.engine.profile import Precision
from inference.engine.transformer.build import build, read_config, reader_of, reader_of_model
from inference.engine.transformer.graphs import Stepper
from inference.engine.transformer.model import Transformer
from inference.engine.transformer.parallel import processes_for

TOLERANCE = 1e-5
CPU = torch.device("cpu")
GRID = (6, 5)
TEXT_TOKENS = 7
TIMES = (0.9, 0.4)


@pytest.fixture(scope="module")
def folder(weights: Path) -> Path:
    return weights / "pocket-turbo" / "transformer"


@pytest.fixture(scope="module")
def stock(folder: Path) -> Krea2Transformer2DModel:
    return Krea2Transformer2DModel.from_pretrained(folder, dtype=torch.float32)


@dataclass(frozen=True)
class Case:
    """One evaluation: what goes in, and diffusers' velocity at the second of TIMES."""

    latents: Tensor
    embeds: Tensor
    expected: Tensor


def random_latents() -> Tensor:
    return torch.randn(1, GRID[0] * GRID[1], 64, generator=torch.Generator().manual_seed(1))


def random_embeds(taps: int, width: int) -> Tensor:
    shape = (1, TEXT_TOKENS, taps, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
@torch.no_grad()
def case(stock: Krea2Transformer2DModel) -> Case:
    latents = random_latents()
    embeds = random_embeds(stock.config.num_text_layers, stock.config.text_hidden_dim)
    time = torch.tensor([TIMES[1]])
    expected = stock(latents, embeds, time, positions(), return_dict=False)[0]
    return Case(latents, embeds, expected)


def positions() -> Tensor:
    rows, columns = GRID
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    image = torch.cat([torch.zeros(rows * columns, 1), grid], dim=1)
    return torch.cat([torch.zeros(TEXT_TOKENS, 3), image])


@torch.no_grad()
def velocity(transformer: Transformer, case: Case) -> Tensor:
    step = Stepper(transformer, records=False)
    prepared = transformer.prepare(case.embeds, GRID)
    return step(case.latents.to(transformer.dtype), prepared, transformer.times(TIMES), 1).float()


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert theirs.std() > 1e-3
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_fused_projections_give_the_velocity_of_diffusers(folder: Path, case: Case) -> None:
    ours = build(read_config(folder), reader_of(folder, CPU), torch.float32)
    assert difference(velocity(ours, case), case.expected) <= TOLERANCE


def test_weights_of_a_model_in_memory_are_taken_as_they_are(
    stock: Krea2Transformer2DModel, case: Case
) -> None:
    ours = build(dict(stock.config), reader_of_model(stock), torch.float32)
    assert difference(velocity(ours, case), case.expected) <= TOLERANCE


@pytest.mark.parametrize("resident", [0, 1])
def test_streamed_blocks_give_the_same_bytes(folder: Path, case: Case, resident: int) -> None:
    config, read = read_config(folder), reader_of(folder, CPU)
    whole = velocity(build(config, read, torch.float32), case)
    streamed = build(config, read, torch.float32, resident=resident)
    for _ in range(2):  # the second time the slots hold what the first time left in them
        assert torch.equal(velocity(streamed, case), whole)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("plain", 0.05), ("float8", 0.2)], ids=["bfloat16", "float8"]
)
def test_fewer_bits_give_nearly_the_same(
    stock: Krea2Transformer2DModel, case: Case, precision: Precision, tolerance: float
) -> None:
    ours = build(dict(stock.config), reader_of_model(stock), torch.bfloat16, precision)
    assert ours.blocks[0].norm1.dtype == torch.float32
    assert difference(velocity(ours, case), case.expected) <= tolerance


def test_the_velocity_is_that_of_the_official_formulas(
    stock: Krea2Transformer2DModel, case: Case, folder: Path
) -> None:
    """Against arithmetic written out in float64 from the model's description."""
    ours = build(read_config(folder), reader_of(folder, CPU), torch.float32)
    written = Written(stock.state_dict(), read_config(folder))
    assert (
        difference(velocity(ours, case), written.velocity(case.latents, case.embeds, TIMES[1]))
        <= TOLERANCE
    )


class Written:
    """Krea 2's transformer for one picture, in float64, one formula a line, nothing shared."""

    def __init__(self, state: Mapping[str, Tensor], config: Mapping[str, object]) -> None:
        self.state = {name: tensor.double() for name, tensor in state.items()}
        self.config = config

    def velocity(self, latents: Tensor, embeds: Tensor, time: float) -> Tensor:
        width = self.state["img_in.weight"].shape[0]
        embedded = self.time(float(torch.tensor(time)))
        shared = self.linear(gelu(embedded), "time_mod_proj").view(6, width)
        text = self.text(embeds[0].double())
        x = torch.cat([text, self.linear(latents[0].double(), "img_in")])
        angles = self.angles()
        for index in range(int(self.config["num_layers"])):  # type: ignore[call-overload]
            name = f"transformer_blocks.{index}"
            a, b, c, d, e, f = shared + self.state[f"{name}.scale_shift_table"]
            heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
            x = x + c * self.attention(
                (1 + a) * self.norm(x, f"{name}.norm1") + b, f"{name}.attn", heads, angles
            )
            x = x + f * self.feed((1 + d) * self.norm(x, f"{name}.norm2") + e, f"{name}.ff")
        scale, shift = embedded + self.state["final_layer.scale_shift_table"]
        image = (1 + scale) * self.norm(x[len(text) :], "final_layer.norm") + shift
        return self.linear(image, "final_layer.linear")[None].float()

    def time(self, time: float) -> Tensor:
        half = int(self.config["timestep_embed_dim"]) // 2  # type: ignore[call-overload]
        angles = 1000 * time * torch.exp(-math.log(10_000) * torch.arange(half).double() / half)
        wave = torch.cat([angles.cos(), angles.sin()])
        return self.linear(gelu(self.linear(wave, "time_embed.linear_1")), "time_embed.linear_2")

    def text(self, taps: Tensor) -> Tensor:
        heads = self.config["text_num_attention_heads"], self.config["text_num_key_value_heads"]
        tokens = list(taps)  # each (taps, width)
        for index in range(2):
            tokens = [self.fuse(t, f"text_fusion.layerwise_blocks.{index}", heads) for t in tokens]
        mixed = torch.stack([self.state["text_fusion.projector.weight"][0] @ t for t in tokens])
        for index in range(2):
            mixed = self.fuse(mixed, f"text_fusion.refiner_blocks.{index}", heads)
        inner = self.linear(self.norm(mixed, "txt_in.norm"), "txt_in.linear_1")
        return self.linear(gelu(inner), "txt_in.linear_2")

    def fuse(self, x: Tensor, name: str, heads: tuple[object, object]) -> Tensor:
        x = x + self.attention(self.norm(x, f"{name}.norm1"), f"{name}.attn", heads, None)
        return x + self.feed(self.norm(x, f"{name}.norm2"), f"{name}.ff")

    def attention(
        self, x: Tensor, name: str, heads: tuple[object, object], angles: Tensor | None
    ) -> Tensor:
        queries, keys = (int(count) for count in heads)  # type: ignore[call-overload]
        q = self.norm(self.linear(x, f"{name}.to_q").view(len(x), queries, -1), f"{name}.norm_q")
        k = self.norm(self.linear(x, f"{name}.to_k").view(len(x), keys, -1), f"{name}.norm_k")
        v = self.linear(x, f"{name}.to_v").view(len(x), keys, -1)
        mixed = []
        for head in range(queries):
            one, other = q[:, head], k[:, head * keys // queries]
            if angles is not None:
                one, other = turn(one, angles), turn(other, angles)
            weights = (one @ other.T / math.sqrt(one.shape[1])).softmax(-1)
            mixed.append(weights @ v[:, head * keys // queries])
        gate = self.linear(x, f"{name}.to_gate").sigmoid()
        return self.linear(torch.cat(mixed, dim=1) * gate, f"{name}.to_out.0")

    def feed(self, x: Tensor, name: str) -> Tensor:
        gate, up = self.linear(x, f"{name}.gate"), self.linear(x, f"{name}.up")
        return self.linear(gate * gate.sigmoid() * up, f"{name}.down")

    def angles(self) -> Tensor:
        """(S, head_dim / 2): position times theta^(-2i/d), axis after axis."""
        theta = float(self.config["rope_theta"])  # type: ignore[arg-type]
        parts = []
        for axis, size in enumerate(self.config["axes_dims_rope"]):  # type: ignore[var-annotated,arg-type]
            speeds = theta ** -(torch.arange(0, size, 2).double() / size)
            parts.append(positions()[:, axis, None].double() * speeds)
        return torch.cat(parts, dim=1)

    def norm(self, x: Tensor, name: str) -> Tensor:
        root = (x.square().mean(-1, keepdim=True) + float(self.config["norm_eps"])).sqrt()  # type: ignore[arg-type]
        return x / root * (1 + self.state[f"{name}.weight"])

    def linear(self, x: Tensor, name: str) -> Tensor:
        bias = self.state.get(f"{name}.bias", torch.zeros(()).double())
        return x @ self.state[f"{name}.weight"].T + bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def turn(x: Tensor, angles: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.view(*angles.shape, 2)) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.view_as_real(pairs).flatten(1)


# Small, and with heads that two processes can share.
SHARED = {
    **full_size.TRANSFORMER,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "attention_head_dim": 16,
    "axes_dims_rope": (4, 6, 6),
    "intermediate_size": 96,
    "text_hidden_dim": 32,
    "text_num_attention_heads": 2,
    "text_num_key_value_heads": 2,
    "text_intermediate_size": 64,
}
TOGETHER = """
import sys
import torch
from torch import distributed
from inference.bench.full_size import reader
from inference.engine.transformer.build import build
from inference.engine.transformer.parallel import ParallelTransformer

rank, meeting = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
given = torch.load(sys.argv[3])
read = reader(given["config"], torch.device("cpu"), torch.float32)
shared = ParallelTransformer(build(given["config"], read, torch.float32))
with torch.no_grad():
    prepared = shared.prepare(given["embeds"], given["grid"])
    velocity = shared.step(given["latents"], prepared, shared.times(given["times"]), 1)
torch.save(velocity, f"{meeting}.{rank}")
distributed.destroy_process_group()
"""


@torch.no_grad()
def test_two_processes_give_the_velocity_of_one(tmp_path: Path) -> None:
    """7 text tokens and 30 of the picture: 37 rows, which two processes cannot share evenly."""
    read = full_size.reader(SHARED, CPU, torch.float32)
    latents, embeds = random_latents(), random_embeds(12, 32)
    one = full_size.stock_transformer(SHARED, read, torch.float32)
    time = torch.tensor([TIMES[1]])
    expected = one(latents, embeds, time, positions(), return_dict=False)[0]
    given, meeting = tmp_path / "given", tmp_path / "meeting"
    asked = {"config": SHARED, "embeds": embeds, "latents": latents, "grid": GRID, "times": TIMES}
    torch.save(asked, given)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(rank), str(meeting), str(given)],
            cwd=Path(models.__file__).parent.parent,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for rank in range(2):
        assert difference(torch.load(f"{meeting}.{rank}"), expected) <= TOLERANCE


def test_a_picture_takes_as_many_processes_as_its_heads_can_be_divided_among() -> None:
    found = [processes_for(full_size.TRANSFORMER, most) for most in (1, 2, 3, 4, 5, 7, 8, 16)]
    assert found == [1, 2, 3, 4, 4, 6, 6, 12]
