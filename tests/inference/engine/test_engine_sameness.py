"""Our shortcuts compute what stock diffusers computes, in float32, to 1e-5."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, Krea2Pipeline

from inference import models
from inference.engine.device import ON_CPU, Device
from inference.engine.load import load_pipeline
from inference.engine.render import PipelineEngine
from inference.engine.text import TrimmedPipeline
from inference.models import Model
from inference.request import GenerationRequest

TOLERANCE = 1e-5
CPU = Device("cpu", torch.float32, "the CPU")
SHORT = "a green fox"
MIDDLE = "a red apple, flat style, on a blue background"
TOO_LONG = "a red apple " * 400


def stock(folder: Path) -> Krea2Pipeline:
    pipeline = Krea2Pipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference relative to the largest value; never of something that is all zero."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 1e-3
    return float((ours - theirs).abs().max() / theirs.abs().max())


def stock_latents(pipeline: Krea2Pipeline, prompts: list[str], guidance: float) -> torch.Tensor:
    denoised: torch.Tensor = pipeline(
        prompts,
        width=96,
        height=64,
        num_inference_steps=3,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(7) for _ in prompts],
        output_type="latent",
    ).images
    return denoised


def our_latents(engine: PipelineEngine, model: Model, prompts: list[str]) -> torch.Tensor:
    engine.load(model, print)
    requests = [GenerationRequest(p, model.id, 96, 64, images=1, seed=7) for p in prompts]
    made = [
        engine.denoise(engine.encode(request, model), request, model, ignore, lambda: False)
        for request in requests
    ]
    return torch.stack([latents.tensor for (latents,) in made])


def ignore(_progress: object) -> None: ...


@pytest.mark.parametrize("prompt", [SHORT, MIDDLE, TOO_LONG, [SHORT, MIDDLE, ""]])
@torch.no_grad()
def test_trimmed_text_gives_the_hidden_states_of_padded_text(
    weights: Path, prompt: str | list[str]
) -> None:
    ours, our_mask = load_pipeline(weights / "pocket-turbo", CPU, ON_CPU).get_text_hidden_states(
        prompt
    )
    theirs, their_mask = stock(weights / "pocket-turbo").get_text_hidden_states(prompt)
    assert ours.shape[1] <= theirs.shape[1] == 512
    assert our_mask.sum() == their_mask.sum()
    assert difference(ours[our_mask], theirs[their_mask]) <= TOLERANCE


@pytest.mark.parametrize("checkpoint", ["pocket-turbo", "pocket-raw"])
@pytest.mark.parametrize("guidance", [0.0, 3.5])
def test_the_denoised_latents_are_those_of_stock_diffusers(
    engine: PipelineEngine, weights: Path, checkpoint: str, guidance: float
) -> None:
    model = replace(models.find(checkpoint), steps=3, guidance=guidance)
    prompts = [SHORT, MIDDLE, TOO_LONG]
    theirs = stock_latents(stock(weights / checkpoint), prompts, guidance)
    assert difference(our_latents(engine, model, prompts), theirs) <= TOLERANCE


def test_text_is_not_padded(weights: Path) -> None:
    pipeline = load_pipeline(weights / "pocket-turbo", CPU, ON_CPU)
    embeds, mask = pipeline.encode_prompt(SHORT)
    assert isinstance(pipeline, TrimmedPipeline)
    assert embeds.shape[1] < 40
    assert mask is None


@torch.no_grad()
def test_the_one_frame_vae_decodes_and_encodes_as_the_video_vae(weights: Path) -> None:
    ours = load_pipeline(weights / "pocket-turbo", CPU, ON_CPU).vae
    theirs = AutoencoderKLQwenImage.from_pretrained(
        weights / "pocket-turbo" / "vae", dtype=torch.float32
    )
    generator = torch.Generator().manual_seed(0)
    coded = torch.randn(2, 16, 1, 6, 10, generator=generator)
    decoded = theirs.decode(coded).sample
    assert difference(ours.decode(coded).sample, decoded) <= TOLERANCE
    encoded = theirs.encode(decoded).latent_dist.parameters
    assert difference(ours.encode(decoded).latent_dist.parameters, encoded) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("tile_side", [5, 16])
def test_a_picture_decoded_in_tiles_is_the_picture(weights: Path, tile_side: int) -> None:
    vae = load_pipeline(weights / "pocket-turbo", CPU, ON_CPU).vae
    coded = torch.randn(1, 16, 1, 40, 24, generator=torch.Generator().manual_seed(0))
    whole = vae.decode(coded).sample
    vae.tile_side = tile_side
    assert difference(vae.decode(coded).sample, whole) <= TOLERANCE


def test_the_one_frame_vae_refuses_video(weights: Path) -> None:
    vae = load_pipeline(weights / "pocket-turbo", CPU, ON_CPU).vae
    with pytest.raises(ValueError, match="one frame"):
        vae.decode(torch.zeros(1, 16, 2, 4, 4))
