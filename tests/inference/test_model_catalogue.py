"""The catalogue: what each model offers, and why one cannot be chosen here."""

from pathlib import Path

import pytest

from inference import models
from inference.models import CATALOGUE, Model, ModelUnavailable
from inference.request import SIDE_STEP, parse
from licensing import price_files, prices


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.id)
def test_every_size_on_offer_can_be_asked_for_and_has_a_price(model: Model) -> None:
    offered = models.sizes(model)
    listed = price_files.shipped().listed
    assert len(offered) >= 7
    assert len({(size.width, size.height) for size in offered}) == len(offered)
    for size in offered:
        request = parse({"prompt": "x", "width": size.width, "height": size.height}, model)
        assert request.width % SIDE_STEP == 0
        side = model.side_default
        assert prices.price(
            listed, model.price_class, width=size.width, height=size.height, images=1
        ) == prices.price(listed, model.price_class, width=side, height=side, images=1), (
            "a wide picture costs what the square one costs"
        )


def test_turbo_offers_2k() -> None:
    offered = models.sizes(models.find("krea-2-turbo"), 2048)
    assert ("16:9", 2720, 1536) in [(s.aspect, s.width, s.height) for s in offered]


def test_an_unknown_model_is_refused() -> None:
    for unknown in ("dall-e", "", None, ["pocket-turbo"]):
        with pytest.raises(ModelUnavailable):
            models.find(unknown)


def test_weights_are_found_in_their_folder_or_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    pocket, krea = models.find("pocket-turbo"), models.find("krea-2-turbo")
    weights = tmp_path / "weights"
    assert "Pocket Turbo" in (models.weights_problem(pocket, weights) or "")
    assert "weights/krea/Krea-2-Turbo" in (models.weights_problem(krea, weights) or "")

    (weights / "pocket-turbo").mkdir(parents=True)
    (weights / "pocket-turbo" / "model_index.json").write_text("{}")
    assert models.weights_problem(pocket, weights) is None

    cached = tmp_path / "hub" / "models--krea--Krea-2-Turbo"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    assert models.weights_problem(krea, weights) is not None, "a download that was broken off"
    (cached / "snapshots" / "abc").mkdir(parents=True)
    (cached / "snapshots" / "abc" / "model_index.json").write_text("{}")
    assert models.locate(krea, weights) == cached / "snapshots" / "abc"
