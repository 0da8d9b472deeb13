"""Checkpoint folders: complete for diffusers, small files, shared parts stored once."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Pipeline
from safetensors import safe_open

from inference.training import folder, release
from inference.training.tokenizer import PREFIX, SUFFIX, train_tokenizer

RELEASED = Path(__file__).parents[3] / "weights"


def test_the_template_takes_the_tokens_that_the_pipeline_counts_on(untrained: Path) -> None:
    tokenizer = folder.load(untrained).tokenizer
    assert len(tokenizer(PREFIX).input_ids) == 34
    assert len(tokenizer(SUFFIX).input_ids) == 5
    ids = tokenizer("a red apple, naïve ☂").input_ids
    assert tokenizer.decode(ids) == "a red apple, naïve ☂"


def test_a_vocabulary_too_small_for_the_template_is_refused() -> None:
    with pytest.raises(ValueError, match="template"):
        train_tokenizer(["a red apple"], 270)


def test_diffusers_draws_from_a_folder_stored_in_half_precision(untrained: Path) -> None:
    with safe_open(untrained / "vae/diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118 - it is no dict
    pipe = Krea2Pipeline.from_pretrained(untrained, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(
        "a red apple", height=32, width=48, num_inference_steps=1, guidance_scale=0.0
    ).images[0]
    assert picture.size == (48, 32)


def test_saving_leaves_the_model_as_it_was_and_names_no_folder(
    untrained: Path, tmp_path: Path
) -> None:
    parts = folder.load(untrained)
    folder.save_module(parts.vae, tmp_path / "vae")
    assert {p.dtype for p in parts.vae.parameters()} == {torch.float32}
    assert str(untrained) not in (tmp_path / "vae/config.json").read_text()


def test_a_release_stores_shared_parts_once_and_loads(untrained: Path, tmp_path: Path) -> None:
    size = release.release(untrained, untrained, tmp_path / "weights")
    real = [p for p in untrained.rglob("*.safetensors") if p.parent.name == "transformer"]
    shared = [p for p in untrained.rglob("*.safetensors") if p.parent.name != "transformer"]
    assert size == sum(p.stat().st_size for p in (*real, *real, *shared))
    pipe = Krea2Pipeline.from_pretrained(tmp_path / "weights/pocket-turbo", dtype=torch.float32)
    assert pipe.config.is_distilled


def test_a_turbo_of_another_raw_is_refused(untrained: Path, tmp_path: Path) -> None:
    other = folder.build(folder.read_config("tiny")["model"], ["a red apple"], seed=1)
    folder.save(other, tmp_path / "other", is_distilled=True)
    with pytest.raises(ValueError, match="text encoders differ"):
        release.release(untrained, tmp_path / "other", tmp_path / "weights")


def test_the_shipped_weights_keep_the_repository_s_limits() -> None:
    assert 50_000_000 < release.check(RELEASED) <= release.TOTAL_BYTES_MAX
    configs = [json.loads(path.read_text()) for path in RELEASED.rglob("config.json")]
    assert not [config for config in configs if "_name_or_path" in config]
