"""What `inspect` says of a LoRA file, and each kind of file that it refuses, by its sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lora_layouts import LAYOUTS, LINE, ROOT, Update, line_update, official, peft
from safetensors.torch import save, save_file
from torch import Tensor

from inference.adapters import AdapterRefused, Summary, header, inspect, plan

TURBO = ROOT / "weights" / "pocket-turbo"
Q = "transformer.transformer_blocks.0.attn.to_q"


@pytest.fixture(scope="module")
def update() -> Update:
    return line_update()


def test_the_shipped_lora_is_summed_up() -> None:
    assert inspect(LINE, TURBO) == Summary("peft", layers=92, rank=16, parameters=992_976)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_known_with_all_of_its_layers(
    tmp_path: Path, update: Update, name: str
) -> None:
    path = tmp_path / "lora"
    save_file({k: t.contiguous() for k, t in LAYOUTS[name](update).tensors.items()}, path)
    summary = inspect(path, TURBO)
    assert summary.layout == name.split(",", maxsplit=1)[0]
    assert (summary.layers, summary.rank) == (92, 16)


Broken = Callable[[dict[str, Tensor]], object]


def with_keys(**tensors: Tensor) -> Broken:
    return lambda held: held.update({k.replace("__", "."): t for k, t in tensors.items()})


def renamed(ours: str, theirs: str) -> Broken:
    return lambda held: held.update({theirs: held.pop(ours)})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (with_keys(other__a=torch.ones(1), other__b=torch.ones(1)), "2 of 186 .* other.a, other.b"),
        (with_keys(**{f"n{i}": torch.ones(1) for i in range(9)}), "n0, n1, n2 and 6 more"),
        (with_keys(**{f"{Q}.dora_scale": torch.ones(384)}), "DoRA"),
        (with_keys(lora_te1_layers_0__alpha=torch.ones(1)), "text encoder too"),
        (with_keys(**{"blocks.0.attn.wq.lora_A.weight": torch.ones(16, 384)}), "the same weight"),
        (renamed(f"{Q}.lora_A.weight", f"{Q}.alpha"), "no single number"),
        (lambda held: held.pop(f"{Q}.lora_B.weight"), r"Half of .*blocks\.0\.attn\.to_q"),
        (with_keys(**{f"{Q}.lora_A.weight": torch.ones(8, 384)}), "ranks 8 and 16"),
        (with_keys(**{f"{Q}.lora_A.weight": torch.ones(16, 6144)}), "6,144 inputs .* has 384"),
        (with_keys(**{f"{Q}.lora_A.weight": torch.ones(16, 384, 1, 1)}), "no convolutions"),
        (
            with_keys(**{
                f"{Q}.lora_A.weight": torch.ones(0, 384), f"{Q}.lora_B.weight": torch.ones(384, 0)
            }),
            "rank 0",
        ),
        (
            with_keys(**{
                f"{Q}.lora_A.weight": torch.ones(600, 384),
                f"{Q}.lora_B.weight": torch.ones(384, 600),
            }),
            "rank 600; 512 is the most",
        ),
        (with_keys(**{f"{Q}.lora_A.weight": torch.ones(16, 384).int()}), "stored as I32"),
        (with_keys(**{f"{Q}.lokr_t2": torch.ones(2, 2)}), "convolution, or of a LoRA"),
    ],
)  # fmt: skip
def test_a_file_that_would_draw_something_else_is_refused(
    tmp_path: Path, update: Update, spoil: Broken, sentence: str
) -> None:
    held = dict(peft(update).tensors)
    spoil(held)
    path = tmp_path / "lora"
    save_file({key: tensor.contiguous() for key, tensor in held.items()}, path)
    with pytest.raises(AdapterRefused, match=sentence):
        inspect(path, TURBO)


def test_a_lora_of_another_model_names_no_weight(tmp_path: Path, update: Update) -> None:
    path = tmp_path / "lora"
    flux = {f"double_{key}": tensor for key, tensor in official(update, "blocks.").tensors.items()}
    save_file(flux, path)
    with pytest.raises(AdapterRefused, match="No weight of this model is named in the file"):
        inspect(path, TURBO)
    save_file({}, path)
    with pytest.raises(AdapterRefused, match="holds nothing"):
        inspect(path, TURBO)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_alpha": "much"}, "cannot be read"),
        ({"lora_alpha": 1e999}, "no number"),
        ({"lora_alpha": 10**400}, "cannot be read"),
        ({"alpha_pattern": {"(a+)+$": 8}}, "cannot be read"),
    ],
)
def test_settings_that_would_be_misunderstood_are_refused(
    tmp_path: Path, update: Update, settings: dict[str, object], sentence: str
) -> None:
    path = tmp_path / "lora"
    save_file(
        dict(peft(update).tensors), path, metadata={"lora_adapter_metadata": json.dumps(settings)}
    )
    with pytest.raises(AdapterRefused, match=sentence):
        inspect(path, TURBO)


def test_bytes_that_are_no_safetensors_are_refused(
    tmp_path: Path, update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = save(dict(peft(update).tensors))
    path = tmp_path / "lora.safetensors"
    once = json.dumps({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 0]}})
    twice, endless = f"{once[:-1]}, {once[1:]}", once.replace("[]", "[Infinity]")
    for content, sentence in {
        b"": "not a whole safetensors file",
        b"\x80\x02}q\x00.": "pickle",
        b"PK\x03\x04" + whole: "pickle",
        whole[:-1]: "cut off",
        whole + b"#!": "cut off",
        whole[:5000]: "not a whole safetensors file",
        len(twice).to_bytes(8, "little") + twice.encode(): "not a whole safetensors file",
        len(endless).to_bytes(8, "little") + endless.encode(): "not a whole safetensors file",
        (9).to_bytes(8, "little") + b"[[[[[[[[[": "not a whole safetensors file",
    }.items():
        path.write_bytes(content)
        with pytest.raises(AdapterRefused, match=sentence):
            inspect(path, TURBO)
    path.write_bytes(whole)
    monkeypatch.setattr(header, "FILE_BYTES_MAX", 1000)
    with pytest.raises(AdapterRefused, match="the most that a LoRA may have"):
        inspect(path, TURBO)
    monkeypatch.undo()
    monkeypatch.setattr(plan, "NUMBERS_MAX", 992_975)
    with pytest.raises(AdapterRefused, match="its updates have 992,976 numbers"):
        inspect(path, TURBO)


def test_without_the_models_weights_nothing_is_taken(tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused, match="not on this machine"):
        inspect(LINE, tmp_path)
