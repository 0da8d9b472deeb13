"""The chain on a CPU: VAE, Raw, Turbo, LoRA; stopped and resumed; by the commands people type.

Everything is tiny and unlearned; what must hold is that each stage reads what the one before wrote,
that a stopped run goes on as if it had not been, and that diffusers takes the results.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import Krea2Pipeline, Krea2Transformer2DModel
from PIL import Image
from torch import Tensor

from inference.training import adapter, folder, lora, raw, turbo, vae
from inference.training.command import Command, parse
from inference.training.state import load_state, save_state

Run = Callable[[Command], Path]


def tiny(base: Path, out: Path, *more: str) -> Command:
    return parse("", ["--tiny", "--base", str(base), "--out", str(out), *more])


def events(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


def weights(checkpoint: Path) -> dict[str, Tensor]:
    parts = folder.load(checkpoint)
    named = (("transformer", parts.transformer), ("text", parts.text_encoder), ("vae", parts.vae))
    return {f"{a}.{b}": tensor for a, model in named for b, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def trained_vae(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vae")
    return vae.run(tiny(untrained, out, "--steps", "8"))


@pytest.fixture(scope="module")
def trained_raw(trained_vae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw")
    return raw.run(tiny(trained_vae, out, "--steps", "14"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captioned pictures of two shapes, as a person brings them."""
    out = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate(((64, 64), (64, 64), (96, 48))):
        Image.new("RGB", size, (40 * number, 20, 200)).save(out / f"{number}.png")
        (out / f"{number}.txt").write_text(f"a car number {number}")
    return out


def test_the_vae_learns_and_measures_its_latents(trained_vae: Path) -> None:
    journal = events(trained_vae.parent)
    assert journal[0]["event"] == "start"
    assert journal[-1]["event"] == "finished"
    config = folder.AutoencoderKLQwenImage.from_pretrained(trained_vae / "vae").config
    assert len(set(config.latents_std)) == 16


def test_raw_learns_from_two_sizes_and_is_a_whole_checkpoint(trained_raw: Path) -> None:
    steps = [event for event in events(trained_raw.parent) if event["event"] == "step"]
    assert steps[0]["step"] == 1
    before, after = (folder.read_config("tiny")["raw"]["stages"][0]["steps"], 14)
    assert before < after, "the run must reach its second stage"
    pipe = Krea2Pipeline.from_pretrained(trained_raw, dtype=torch.float32)
    assert not pipe.config.is_distilled
    assert pipe.transformer.final_layer.linear.weight.abs().max() > 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("run", "steps"), [(vae.run, 4), (raw.run, 4), (turbo.run, 2)], ids=["vae", "raw", "turbo"]
)
def test_a_stopped_run_resumes_as_if_it_had_not_stopped(
    run: Run, steps: int, untrained: Path, tmp_path: Path
) -> None:
    whole = run(tiny(untrained, tmp_path / "whole", "--steps", str(steps)))
    halves = tmp_path / "halves"
    run(tiny(untrained, halves, "--steps", str(steps), "--seconds", "0"))
    assert events(halves)[-1]["event"] == "stopped"
    resumed = run(tiny(untrained, halves, "--steps", str(steps), "--resume"))
    assert events(halves)[-1]["event"] == "finished"
    if run is vae.run:
        models = [
            folder.AutoencoderKLQwenImage.from_pretrained(f / "vae") for f in (whole, resumed)
        ]
        expected, found = (model.state_dict() for model in models)
    else:
        expected, found = weights(whole), weights(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_seed_fixes_the_result_and_another_changes_it(trained_vae: Path, tmp_path: Path) -> None:
    def final(name: str, seed: str) -> Tensor:
        out = raw.run(tiny(trained_vae, tmp_path / name, "--steps", "3", "--seed", seed))
        return weights(out)["transformer.img_in.weight"]

    first = final("a", "1")
    assert torch.equal(first, final("b", "1"))
    assert not torch.equal(first, final("c", "2"))


def test_turbo_is_distilled_and_keeps_raw_s_other_parts(trained_raw: Path, tmp_path: Path) -> None:
    distilled = turbo.run(tiny(trained_raw, tmp_path, "--steps", "3"))
    pipe = Krea2Pipeline.from_pretrained(distilled, dtype=torch.float32)
    assert pipe.config.is_distilled
    before, after = weights(trained_raw), weights(distilled)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"transformer"}


def test_a_lora_trained_on_raw_runs_on_turbo_by_diffusers_own_loader(
    trained_raw: Path, pictures: Path, tmp_path: Path
) -> None:
    trained = lora.run(tiny(trained_raw, tmp_path, "--data", str(pictures)))
    assert {"step", "saved", "finished"} <= {str(event["event"]) for event in events(tmp_path)}
    pipe = Krea2Pipeline.from_pretrained(trained_raw, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def draw() -> Tensor:
        latents: Tensor = pipe(
            "a car",
            height=32,
            width=32,
            num_inference_steps=1,
            guidance_scale=0.0,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        ).images
        return latents

    plain = draw()
    pipe.load_lora_weights(trained, adapter_name="style")
    adapted = draw()
    pipe.set_adapters(["style"], [0.0])
    torch.testing.assert_close(draw(), plain, atol=1e-6, rtol=0)
    assert (adapted - plain).abs().max() > 1e-4


@pytest.mark.nightly
def test_a_lora_cut_to_its_own_rank_and_half_strength_does_half(
    untrained: Path, pictures: Path, tmp_path: Path
) -> None:
    whole = lora.run(tiny(untrained, tmp_path, "--data", str(pictures), "--steps", "2"))
    assert adapter.cut(whole, tmp_path / "half", rank=4, strength=0.5) < 1e-6
    pipe = Krea2Pipeline.from_pretrained(untrained, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    drawn = []
    for file, strength in ((whole, 0.5), (tmp_path / "half", 1.0)):
        pipe.unload_lora_weights()
        pipe.load_lora_weights(file, adapter_name="line")
        pipe.set_adapters(["line"], [strength])
        drawn.append(
            pipe(
                "a car",
                height=32,
                width=32,
                num_inference_steps=1,
                guidance_scale=0.0,
                generator=torch.Generator().manual_seed(0),
                output_type="latent",
            ).images
        )
    torch.testing.assert_close(drawn[0], drawn[1], atol=1e-3, rtol=0)


@pytest.mark.nightly
def test_a_stopped_lora_resumes_as_if_it_had_not_stopped(
    untrained: Path, pictures: Path, tmp_path: Path
) -> None:
    data = ("--data", str(pictures), "--steps", "3")
    lora.run(tiny(untrained, tmp_path / "whole", *data))
    lora.run(tiny(untrained, tmp_path / "halves", *data, "--seconds", "0"))
    lora.run(tiny(untrained, tmp_path / "halves", *data, "--resume"))
    whole, halves = (load_state(tmp_path / name / "state") for name in ("whole", "halves"))
    assert whole is not None
    assert halves is not None
    for name, tensor in whole["adapter"].items():
        assert torch.equal(tensor, halves["adapter"][name]), name


@pytest.mark.parametrize(("preset", "layers"), [("style", 232), ("attention", 140 + 20)])
def test_the_presets_fit_the_full_size_model(preset: str, layers: int) -> None:
    section = folder.read_config("krea2")["lora"]
    config = lora.AdapterConfig(**{**section, "preset": preset})
    with torch.device("meta"):
        full = Krea2Transformer2DModel()
        lora.add_adapter(full, config)
    adapted = [name for name, _ in full.named_parameters() if "lora_A" in name]
    assert len(adapted) == layers
    assert all(p.dtype == torch.float32 for p in full.parameters() if p.requires_grad)


def test_a_folder_without_captions_is_refused(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no captioned pictures"):
        lora.run(tiny(untrained, tmp_path / "out", "--data", str(tmp_path / "empty")))


def test_a_state_survives_a_crash_while_the_next_is_written(tmp_path: Path) -> None:
    tree = {"step": 3, "tensors": [torch.arange(4), {"deep": torch.ones(2, 2)}], 7: "seven"}
    save_state(tmp_path / "state", tree)
    # A crash between the two renames leaves the old state under its other name.
    (tmp_path / "state").rename(tmp_path / "state.old")
    found = load_state(tmp_path / "state")
    assert found is not None
    assert found["step"] == 3
    assert found[7] == "seven"
    assert torch.equal(found["tensors"][1]["deep"], torch.ones(2, 2))
    assert load_state(tmp_path / "nothing") is None
