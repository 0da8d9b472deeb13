"""The text encoder behind a recording: a prompt filled up to a length says the same."""

from pathlib import Path

import pytest
import torch

from inference.engine.device import ON_CPU, Device
from inference.engine.load import load_pipeline
from inference.engine.qwen import tapped_states
from inference.engine.text import TrimmedPipeline
from inference.engine.text_graphs import FILLER, GRAIN, RecordedText

PROMPTS = ["a red apple", "two blue cups beside a green box, flat style", "ein Hund " * 40]


@pytest.fixture(scope="module")
def pipeline(weights: Path) -> TrimmedPipeline:
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = Device(kind, torch.float32, kind)
    return load_pipeline(weights / "pocket-turbo", device, ON_CPU)


@torch.no_grad()
def test_what_a_prompt_is_filled_up_with_changes_nothing_of_it(pipeline: TrimmedPipeline) -> None:
    encoder, taps = pipeline.text_encoder.language_model, pipeline.text_encoder_select_layers
    ids = torch.arange(5, 5 + 21, device=encoder.device)[None]
    filled = torch.nn.functional.pad(ids, (0, 2 * GRAIN - 21), value=FILLER)

    def states(of: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(of, dtype=torch.bool, device="cpu")
        positions = torch.arange(of.shape[1], device=of.device)[None]
        return tapped_states(encoder, of, mask, positions, taps)

    torch.testing.assert_close(states(filled)[:, :21], states(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it can be recorded")
@torch.no_grad()
def test_a_text_encoder_that_cannot_be_recorded_runs_without(pipeline: TrimmedPipeline) -> None:
    plain = [pipeline.get_text_hidden_states(prompt)[0] for prompt in PROMPTS]
    pipeline.record_text()
    for prompt, expected in zip(PROMPTS, plain, strict=True):
        assert torch.equal(pipeline.get_text_hidden_states(prompt)[0], expected)
    assert pipeline.recorded is not None
    assert not pipeline.recorded.records


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
@torch.no_grad()
def test_a_recording_says_what_the_layers_say_and_always_the_same(
    pipeline: TrimmedPipeline,
) -> None:
    encoder, taps = pipeline.text_encoder.language_model, pipeline.text_encoder_select_layers
    recorded = RecordedText(encoder, taps, tokens_max=320)
    for tokens in (7, 16, 17, 300, 7):
        ids = torch.arange(5, 5 + tokens)[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        positions = torch.arange(tokens, device="cuda")[None]
        ours = recorded(ids)
        assert ours is not None
        theirs = tapped_states(encoder, ids.cuda(), mask, positions, taps)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        # A recording reads where it was told to: what was freed since holds something else.
        _spoiled = [torch.full((1, size), 99, device="cuda") for size in range(1, 600)]
        again = recorded(ids)
        assert again is not None
        assert torch.equal(ours, again)
    assert recorded(torch.zeros(1, 321, dtype=torch.long)) is None, "longer than any prompt"
