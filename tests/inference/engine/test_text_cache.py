"""A prompt that comes again is not encoded again, and draws the same picture."""

from dataclasses import replace
from pathlib import Path

import torch

from inference.engine.render import PipelineEngine
from inference.engine.text_cache import TextCache
from inference.models import Model
from inference.request import GenerationRequest

APPLE = GenerationRequest("a red apple", "pocket-turbo", 64, 64, images=1, seed=5)


def test_a_repeated_prompt_is_encoded_once_and_draws_the_same_bytes(
    weights: Path, raw: Model
) -> None:
    engine = PipelineEngine(weights)
    first, again = (
        engine.render(APPLE, raw, lambda _step: None, lambda: False)[0] for _ in range(2)
    )
    assert first.tobytes() == again.tobytes()
    # The prompt, the empty one, and what is made of both; then the last of these.
    assert (engine.texts.misses, engine.texts.hits) == (3, 1)
    engine.render(replace(APPLE, prompt="a fox"), raw, lambda _step: None, lambda: False)
    assert (engine.texts.misses, engine.texts.hits) == (5, 2), "the empty prompt is known"


def test_another_size_of_a_known_prompt_is_drawn_as_if_it_were_new(
    weights: Path, raw: Model
) -> None:
    wide = replace(APPLE, width=96)
    alone, after = PipelineEngine(weights), PipelineEngine(weights)
    after.render(APPLE, raw, lambda _step: None, lambda: False)
    expected, drawn = (
        engine.render(wide, raw, lambda _step: None, lambda: False)[0].tobytes()
        for engine in (alone, after)
    )
    assert drawn == expected
    assert after.texts.hits == 2, "both prompts were encoded for the first picture"


def test_another_model_does_not_answer_for_this_one(
    weights: Path, raw: Model, turbo: Model
) -> None:
    engine = PipelineEngine(weights)
    for model in (raw, turbo, raw):
        engine.render(APPLE, model, lambda _step: None, lambda: False)
    assert engine.texts.hits == 0


def test_the_longest_unused_goes_first() -> None:
    cache = TextCache(bytes_max=8)
    for prompt in ("a", "b", "a", "c"):
        cache.get(prompt, lambda: torch.zeros(1))  # 4 bytes each
    assert cache.hits == 1
    cache.get("a", lambda: torch.zeros(1))
    cache.get("b", lambda: torch.zeros(1))
    assert (cache.hits, cache.misses) == (2, 4)
