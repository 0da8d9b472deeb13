"""What is trained is what the pipeline samples: same text, same places, same noise levels."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline

from inference.training import flow, latents, matching, muon, text
from inference.training.folder import SCHEDULER, load


@pytest.fixture(scope="module")
def pipe(untrained: Path) -> Krea2Pipeline:
    pipeline = Krea2Pipeline.from_pretrained(untrained, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(("steps", "tokens"), [(8, None), (28, 256), (52, 6400)])
def test_noise_levels_are_the_scheduler_s(steps: int, tokens: int | None) -> None:
    mu = flow.TURBO_MU if tokens is None else flow.shift_of(tokens)
    scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
    assert flow.sigmas(steps, mu) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


def test_packing_is_the_pipeline_s(pipe: Krea2Pipeline) -> None:
    picture = torch.randn(2, 16, 8, 12)
    packed = flow.pack(picture)
    theirs = pipe._pack_latents(picture, 2, 16, 8, 12)  # noqa: SLF001 - its packing is the format
    assert torch.equal(packed, theirs)
    assert torch.equal(flow.unpack(packed, 4, 6), picture)


def test_text_states_are_the_pipeline_s_for_captions_of_any_length(pipe: Krea2Pipeline) -> None:
    captions = ["a red apple", "a blue fox left of a green car, flat style", ""]
    ids, counts = text.tokenize(pipe.tokenizer, captions, 48)
    reader = text.TextStates(pipe.text_encoder, pipe.tokenizer)
    with torch.no_grad():
        ours, mask = reader(torch.from_numpy(ids), torch.from_numpy(counts))
        theirs, _ = pipe.get_text_hidden_states(captions, max_sequence_length=64)
    assert mask.sum(dim=1).tolist() == counts.tolist()
    for row, count in enumerate(counts):
        # The pipeline pads before the suffix of five tokens.
        expected = torch.cat([theirs[row][: count - 5], theirs[row][-5:]])
        torch.testing.assert_close(ours[row][:count], expected, atol=1e-5, rtol=1e-5)


def test_sampling_is_the_pipeline_s(pipe: Krea2Pipeline) -> None:
    captions = ["a red apple", "a blue fox left of a green car"]
    ids, counts = text.tokenize(pipe.tokenizer, captions, 40)
    noise = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reader = text.TextStates(pipe.text_encoder, pipe.tokenizer)
        states, mask = reader(torch.from_numpy(ids), torch.from_numpy(counts))
    place = flow.positions(40, 4, 6, torch.device("cpu"))

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = pipe.transformer(x, states, t, place, mask, return_dict=False)[0]
        return out

    ours = flow.sample(velocity, noise, flow.sigmas(4, flow.shift_of(24)))
    theirs = pipe(
        captions,
        height=64,
        width=96,
        num_inference_steps=4,
        guidance_scale=0.0,
        latents=noise,
        output_type="latent",
        max_sequence_length=64,
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_planar_vae_computes_what_diffusers_computes(untrained: Path) -> None:
    picture = torch.rand(1, 3, 32, 48) * 2 - 1
    vae, planar = load(untrained).vae, load(untrained).vae
    latents.make_planar(planar)
    with torch.no_grad():
        expected = vae.encode(picture[:, :, None]).latent_dist.mean
        ours = latents.raw_latents(planar, picture)
        torch.testing.assert_close(ours, expected[:, :, 0], atol=1e-4, rtol=1e-4)
        decoded = latents.decode(planar, latents.normalised(planar, ours))
        shown = vae.decode(expected).sample[:, :, 0]
    torch.testing.assert_close(decoded, shown, atol=1e-4, rtol=1e-4)


def test_training_times_follow_the_shifted_logit_normal() -> None:
    device = torch.device("cpu")
    times = flow.sample_times(4096, 0.5, torch.Generator().manual_seed(0), device)
    middle = math.exp(0.5) / (math.exp(0.5) + 1)
    assert times.median().item() == pytest.approx(middle, abs=0.01)
    assert 0 < times.min() < 0.1
    assert 0.95 < times.max() < 1


def test_noise_added_on_the_way_keeps_signal_and_noise_in_proportion() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.ones(2, 1, 20000)
    lower, upper = torch.tensor([0.3, 0.0]), torch.tensor([0.6, 0.3])
    start = flow.add_noise(clean, torch.randn(clean.shape, generator=generator), lower)
    fresh = torch.randn(clean.shape, generator=generator)
    tau, reached = matching.renoise(start, (upper, lower), torch.tensor([0.5, 0.5]), fresh)
    for row in range(2):
        assert reached[row].mean().item() == pytest.approx(1 - tau[row].item(), abs=0.02)
        assert reached[row].std().item() == pytest.approx(tau[row].item(), abs=0.02)


def test_muon_s_updates_are_near_orthogonal() -> None:
    stack = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.orthogonalise(stack).float())
    assert values.min() > 0.3
    assert values.max() < 1.6
