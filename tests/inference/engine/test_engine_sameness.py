"""Our shortcuts compute what stock diffusers computes, in float32, to 1e-5."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLQwenImage, Krea2Pipeline

from inference.engine.device import Device
from inference.engine.load import load_pipeline
from inference.engine.preview import fit
from inference.engine.text import TrimmedPipeline

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


def latents(pipeline: Krea2Pipeline, prompt: str | list[str], guidance: float) -> torch.Tensor:
    seeds = [7] if isinstance(prompt, str) else range(7, 7 + len(prompt))
    denoised: torch.Tensor = pipeline(
        prompt,
        width=96,
        height=64,
        num_inference_steps=3,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="latent",
    ).images
    return denoised


@pytest.mark.parametrize("prompt", [SHORT, MIDDLE, TOO_LONG, [SHORT, MIDDLE, ""]])
@torch.no_grad()
def test_trimmed_text_gives_the_hidden_states_of_padded_text(
    weights: Path, prompt: str | list[str]
) -> None:
    ours, our_mask = load_pipeline(weights / "pocket-turbo", CPU).get_text_hidden_states(prompt)
    theirs, their_mask = stock(weights / "pocket-turbo").get_text_hidden_states(prompt)
    assert ours.shape[1] <= theirs.shape[1] == 512
    assert our_mask.sum() == their_mask.sum()
    assert difference(ours[our_mask], theirs[their_mask]) <= TOLERANCE


@pytest.mark.parametrize("checkpoint", ["pocket-turbo", "pocket-raw"])
@pytest.mark.parametrize("guidance", [0.0, 3.5])
@pytest.mark.parametrize("prompt", [MIDDLE, [SHORT, MIDDLE]], ids=["one", "batch"])
def test_the_denoised_latents_are_those_of_stock_diffusers(
    weights: Path, checkpoint: str, guidance: float, prompt: str | list[str]
) -> None:
    ours = latents(load_pipeline(weights / checkpoint, CPU), prompt, guidance)
    theirs = latents(stock(weights / checkpoint), prompt, guidance)
    assert difference(ours, theirs) <= TOLERANCE


def test_text_is_not_padded(weights: Path) -> None:
    pipeline = load_pipeline(weights / "pocket-turbo", CPU)
    embeds, mask = pipeline.encode_prompt(SHORT)
    assert isinstance(pipeline, TrimmedPipeline)
    assert embeds.shape[1] < 40
    assert mask is None


@torch.no_grad()
def test_the_one_frame_vae_decodes_and_encodes_as_the_video_vae(weights: Path) -> None:
    ours = load_pipeline(weights / "pocket-turbo", CPU).vae
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
def test_bfloat16_as_on_a_gpu_draws_nearly_the_same(weights: Path) -> None:
    half = load_pipeline(weights / "pocket-turbo", Device("cpu", torch.bfloat16, "the CPU"))
    assert half.transformer.img_in.weight.dtype == torch.bfloat16
    # The norms stay in float32, as the checkpoint format asks; `.to(bfloat16)` would round them.
    assert half.transformer.transformer_blocks[0].norm1.weight.dtype == torch.float32
    ours = latents(half, MIDDLE, 0.0).float()
    noise = torch.Generator().manual_seed(7)  # noise is drawn in the precision of the model
    start = torch.randn(1, 16, 8, 12, generator=noise, dtype=torch.bfloat16).float()
    full = load_pipeline(weights / "pocket-turbo", CPU)
    packed = full._pack_latents(start, 1, 16, 8, 12)  # noqa: SLF001 - the pipeline takes them packed
    theirs = full(
        MIDDLE, width=96, height=64, num_inference_steps=3, guidance_scale=0.0,
        latents=packed, output_type="latent",
    ).images  # fmt: skip
    assert difference(ours, theirs) <= 0.05
    shown = fit(half.vae).webp(ours[0], 4, 6)
    assert shown[8:12] == b"WEBP"


def test_the_one_frame_vae_refuses_video(weights: Path) -> None:
    vae = load_pipeline(weights / "pocket-turbo", CPU).vae
    with pytest.raises(ValueError, match="one frame"):
        vae.decode(torch.zeros(1, 16, 2, 4, 4))
