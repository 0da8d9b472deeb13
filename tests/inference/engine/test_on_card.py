"""The whole engine on a card against stock diffusers there, in float32: recordings and all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Pipeline

from inference import models
from inference.engine.render import PipelineEngine
from inference.request import GenerationRequest

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")

CARD = "cuda"
# On the CPU it is 1e-5; a card's kernels add up in another order for each shape.
TOLERANCE = 1e-3
PROMPTS = ["a green fox", "a red apple, flat style, on a blue background", "a red apple " * 400]
WIDTH, HEIGHT, STEPS, SEED = 96, 64, 3, 7


@torch.no_grad()
def test_each_time_a_prompt_is_drawn_its_latents_are_those_of_stock_diffusers(
    weights: Path,
) -> None:
    model = replace(models.find("pocket-turbo"), steps=STEPS, dtype="float32")
    engine = PipelineEngine(weights)
    engine.load(model, print)
    stock = Krea2Pipeline.from_pretrained(
        weights / "pocket-turbo", dtype=torch.float32, local_files_only=True
    ).to(CARD)
    for _ in range(3):  # as it is, while it is recorded, from the recording
        for prompt in PROMPTS:
            engine.texts.clear()
            request = GenerationRequest(prompt, model.id, WIDTH, HEIGHT, images=1, seed=SEED)
            (ours,) = engine.denoise(
                engine.encode(request, model), request, model, lambda _step: None, lambda: False
            )
            ours.settle()
            theirs = stock(
                prompt,
                width=WIDTH,
                height=HEIGHT,
                num_inference_steps=STEPS,
                guidance_scale=0.0,
                generator=torch.Generator(CARD).manual_seed(SEED),
                output_type="latent",
            ).images[0]
            assert theirs.std() > 1e-3
            assert float((ours.tensor - theirs).abs().max() / theirs.abs().max()) <= TOLERANCE
            # What was freed since holds something else: nothing recorded may still read it.
            _spoiled = [torch.full((1, size), 99, device=CARD) for size in range(1, 600)]


def test_two_processes_draw_there_what_one_draws(weights: Path) -> None:
    """On one card they share it and meet through main memory; on more, each has its own."""
    model = replace(models.find("pocket-turbo"), steps=STEPS, dtype="float32")
    request = GenerationRequest(PROMPTS[1], model.id, WIDTH, HEIGHT, images=2, seed=SEED)

    def drawn(together: int) -> torch.Tensor:
        engine = PipelineEngine(weights, together=together)
        engine.load(model, print)
        made = engine.denoise(
            engine.encode(request, model), request, model, lambda _step: None, lambda: False
        )
        made[-1].settle()
        assert engine.build.device == ("cuda" if together == 1 else "2 cuda")
        engine.unload()
        return torch.cat([one.tensor for one in made])

    alone = drawn(1)
    assert float((drawn(2) - alone).abs().max() / alone.abs().max()) <= TOLERANCE
