"""Pictures with LoRAs: as diffusers draws them, from every layout, and gone afterwards."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Pipeline
from lora_layouts import LAYOUTS, LINE, ROOT, Update, Written, line_update, peft
from safetensors.torch import save_file
from torch import Tensor

from inference import models
from inference.adapters import AdapterRefused
from inference.engine import Cancelled, StepProgress
from inference.engine.render import PipelineEngine
from inference.models import Model
from inference.request import AdapterUse, GenerationRequest

TOLERANCE = 1e-5
STEPS = 2
WEIGHTS = ROOT / "weights"
APPLE = GenerationRequest("a red apple", "pocket-turbo", 96, 128, images=1, seed=5)


class Studio:
    """The shipped model with a folder of LoRAs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = PipelineEngine(WEIGHTS, adapters_folder=folder)
        self.model: Model = replace(models.find("pocket-turbo"), steps=STEPS)
        self.engine.load(self.model, ignore)

    def keep(self, written: Written) -> str:
        """Put a file where the engine looks for it; returns its hash."""
        path = self.folder / "new"
        held = {name: tensor.contiguous() for name, tensor in written.tensors.items()}
        save_file(held, path, metadata=dict(written.metadata) or None)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.move(path, self.folder / f"{sha256}.safetensors")
        return sha256

    def latents(self, *uses: tuple[str, float]) -> Tensor:
        request = replace(APPLE, adapters=tuple(AdapterUse(*use) for use in uses))
        states = self.engine.encode(request, self.model)
        (made,) = self.engine.denoise(states, request, self.model, ignore, lambda: False)
        tensor: Tensor = made.tensor
        return tensor


def ignore(_progress: object) -> None: ...


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def plain(studio: Studio) -> Tensor:
    return studio.latents()


@pytest.fixture(scope="module")
def hashes(studio: Studio) -> dict[str, str]:
    """Two LoRAs: the one that ships, and another."""
    return {"line": studio.keep(peft(line_update())), "other": studio.keep(other_file())}


@pytest.fixture(scope="module")
def line(hashes: dict[str, str]) -> str:
    return hashes["line"]


@pytest.fixture(scope="module")
def other(hashes: dict[str, str]) -> str:
    return hashes["other"]


def other_file() -> Written:
    """A LoRA of another rank that also changes what the shipped one leaves, alpha in metadata."""
    generator = torch.Generator().manual_seed(3)
    update: Update = {}
    sizes = {
        "transformer_blocks.3.ff.gate": (1024, 384),
        "transformer_blocks.3.attn.to_q": (384,) * 2,
    }
    for layer, (outputs, inputs) in (sizes | {"img_in": (384, 64)}).items():
        down = torch.randn(4, inputs, generator=generator) / 8
        update[layer] = down, torch.randn(outputs, 4, generator=generator) / 8
    settings = {"r": 4, "lora_alpha": 2, "target_modules": list(update)}
    told = json.dumps({f"transformer.{name}": value for name, value in settings.items()})
    return Written(peft(update).tensors, {"lora_adapter_metadata": told})


@pytest.fixture(scope="module")
def stock(studio: Studio, hashes: dict[str, str]) -> Callable[[Mapping[str, float]], Tensor]:
    """What diffusers denoises with its own loader, by names and strengths."""
    pipeline = Krea2Pipeline.from_pretrained(
        WEIGHTS / "pocket-turbo", dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        for name, sha256 in hashes.items():
            pipeline.load_lora_weights(
                studio.folder, weight_name=f"{sha256}.safetensors", adapter_name=name
            )

    def latents(strengths: Mapping[str, float]) -> Tensor:
        pipeline.set_adapters(list(strengths), list(strengths.values()))
        made: Tensor = pipeline(
            APPLE.prompt,
            width=APPLE.width,
            height=APPLE.height,
            num_inference_steps=STEPS,
            guidance_scale=0.0,
            generator=torch.Generator().manual_seed(APPLE.seed),
            output_type="latent",
        ).images
        return made[0]

    return latents


@pytest.mark.parametrize("strengths", [{"line": 1.0}, {"other": -0.5}, {"line": 0.6, "other": 0.7}])
def test_a_lora_draws_what_it_draws_in_diffusers(
    studio: Studio,
    plain: Tensor,
    stock: Callable[[Mapping[str, float]], Tensor],
    hashes: dict[str, str],
    strengths: Mapping[str, float],
) -> None:
    ours = studio.latents(*((hashes[name], strength) for name, strength in strengths.items()))
    assert difference(ours, stock(strengths)) <= TOLERANCE
    assert difference(ours, plain) > 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_one_lora_draws_the_same(studio: Studio, line: str, layout: str) -> None:
    sha256 = studio.keep(LAYOUTS[layout](line_update()))
    assert difference(studio.latents((sha256, 0.8)), studio.latents((line, 0.8))) <= TOLERANCE


def test_a_kronecker_product_of_full_matrices_is_the_update_that_it_stands_for(
    studio: Studio, plain: Tensor
) -> None:
    generator = torch.Generator().manual_seed(4)
    small = torch.randn(4, 4, generator=generator) / 4
    large = torch.randn(32, 96, generator=generator) / 8
    layer = "transformer_blocks.2.attn.to_k"
    whole = torch.kron(small, large)
    assert whole.shape == (128, 384)
    names = {
        f"{layer}.lokr_w1": small,
        f"{layer}.lokr_w2": large,
        f"{layer}.alpha": torch.tensor(9.0),
    }
    ours = studio.latents((studio.keep(Written(names)), 1.0))
    meant = studio.latents((studio.keep(peft({layer: (whole, torch.eye(128))})), 1.0))
    assert difference(ours, meant) <= TOLERANCE
    assert difference(ours, plain) > 0.001


def test_the_order_of_a_mix_changes_no_byte(studio: Studio, line: str, other: str) -> None:
    one, two = (line, 0.6), (other, 0.7)
    assert torch.equal(studio.latents(one, two), studio.latents(two, one))


def test_a_lora_leaves_nothing_behind(studio: Studio, plain: Tensor, line: str, other: str) -> None:
    with_line = studio.latents((line, 1.0))
    assert torch.equal(studio.latents(), plain)
    studio.latents((line, 0.3), (other, 1.0))
    assert torch.equal(studio.latents((line, 1.0)), with_line)
    assert torch.equal(studio.latents((line, 0.0)), plain)
    assert torch.equal(studio.latents(), plain)


@pytest.mark.parametrize("problem", [Cancelled(), ConnectionError("gone")])
def test_nor_does_one_that_was_stopped_half_way(
    studio: Studio, plain: Tensor, line: str, problem: Exception
) -> None:
    request = replace(APPLE, adapters=(AdapterUse(line, 1.0),))

    def stop(_progress: StepProgress) -> None:
        raise problem

    states = studio.engine.encode(request, studio.model)
    with pytest.raises(type(problem)):
        studio.engine.denoise(states, request, studio.model, stop, lambda: False)
    assert torch.equal(studio.latents(), plain)


def test_what_cannot_be_drawn_with_is_refused_and_the_next_picture_is_plain(
    studio: Studio, plain: Tensor
) -> None:
    update = line_update()
    down, up = update["img_in"]
    broken = studio.keep(peft(update | {"img_in": (down, up * float("nan"))}))
    with pytest.raises(AdapterRefused, match=r"img_in\.lora_B\.weight holds what is no number"):
        studio.latents((broken, 1.0))
    with pytest.raises(AdapterRefused, match="no longer there"):
        studio.latents(("0" * 64, 1.0))
    shutil.copy(LINE, studio.folder / f"{'1' * 64}.safetensors")
    with pytest.raises(AdapterRefused, match="not what it was"):
        studio.latents(("1" * 64, 1.0))
    untrained = {name: (down, up * 0) for name, (down, up) in update.items()}
    with pytest.raises(AdapterRefused, match="before it was trained"):
        studio.latents((studio.keep(peft(untrained)), 1.0))
    wide = {"img_in": (torch.randn(300, 64), torch.randn(384, 300))}
    half_of_it = studio.keep(peft(wide)), 1.0
    with pytest.raises(AdapterRefused, match="ranks of these LoRAs add up to 600"):
        studio.latents(half_of_it, half_of_it)
    assert torch.equal(studio.latents(), plain)
