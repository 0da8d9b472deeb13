import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import write_atlas
from PIL import Image
from torch import nn

from inference.training import evaluate, folder, judge_training, measures
from inference.training.drawing import round_weights


def test_intervals_and_distances_have_their_known_values() -> None:
    assert measures.wilson(0, 0) == (0.0, 1.0)
    low, high = measures.wilson(90, 100)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)
    assert measures.wilson(50, 50)[0] < 0.95
    eye = np.eye(3)
    assert measures.frechet(np.zeros(3), eye, np.zeros(3), eye) == pytest.approx(0)
    # Two Gaussians on a line: (m1 - m2)² + (s1 - s2)², here in each of three dimensions.
    assert measures.frechet(np.zeros(3), eye, np.ones(3), 4 * eye) == pytest.approx(3 + 3)
    alike = np.ones((2, 4, 5))
    assert measures.diversity(alike) == pytest.approx(0)
    opposite = np.array([[[1.0, 0], [-1.0, 0]]])
    assert measures.diversity(opposite) == pytest.approx(2)
    ours, theirs = np.array([[3.0, 0], [0, 1.0]]), np.array([[1.0, 0], [0, -7.0]])
    assert measures.distance(ours, theirs) == pytest.approx((0 + 2) / 2)
    black, grey = np.full((1, 3, 4, 4), -1, np.float32), np.full((1, 3, 4, 4), -0.8, np.float32)
    assert measures.psnr(black, grey) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(("kind", "error"), [("int8", 1 / 127), ("fp8", 1 / 16)])
def test_rounded_weights_stay_within_their_format(kind: str, error: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 8)
    before = layer.weight.detach().clone()
    round_weights(nn.Sequential(layer), kind)
    peak = before.abs().amax(1, keepdim=True)
    gap = (layer.weight - before).abs()
    assert gap.max() > 0
    assert (gap <= peak * error).all()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights and judge in the layout of a release."""
    place = tmp_path_factory.mktemp("weights")
    folder.untrained("tiny", None, place / "pocket-turbo", seed=0)
    write_atlas(place / "atlas")
    out = ["--data", str(place), "--out", str(place / "pocket-judge"), "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["judge", *out, "--tiny"])
        judge_training.main()
    return place


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_report_is_written_from_real_pictures(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--singles", "1", "--pairs", "1", "--diverse", "1", "--batch", "2"]
    rows = ["--rows", "turbo-4,turbo-8,turbo-8-int8,turbo-8-384x160,raw-28"]
    command = ["--model", str(model), "--out", str(tmp_path), "--device", "cpu", *sizes, *rows]
    data = ["--data", str(model)]
    evaluate.main([*command, *data])
    said = capsys.readouterr().out
    assert "raw-28: no weights" in said
    figures = json.loads((tmp_path / "pocket" / "turbo-8.json").read_text())
    assert figures["accuracy"]["subject"]["of"] == 1
    assert figures["accuracy"]["relation"]["of"] == 1
    assert 0 <= figures["diversity"] <= 2
    rounded = json.loads((tmp_path / "pocket" / "turbo-8-int8.json").read_text())
    assert rounded["mean_pixel_difference_to_twin"] >= 0
    assert 0 <= rounded["feature_distance_to_twin"] <= 2
    assert rounded["psnr_db_to_twin"] > 0
    with Image.open(tmp_path / "pocket" / "turbo-8.webp") as sheet:
        assert sheet.width == 2 * 192
    with Image.open(tmp_path / "pocket" / "turbo-8-384x160.webp") as sheet:
        assert sheet.width == 2 * 192, "wide pictures lie inside their tiles"
    page = (tmp_path / "pocket.md").read_text()
    assert "| turbo-4 | 4 | 0 |" in page
    assert "## Other shapes" in page
    assert "In every other shape on offer at least: subject" in page
    assert "| real |" in page
    assert "VAE reconstruction" in page
    assert "| turbo-8: subject | at least 90 % |" in page
    assert "![turbo-8](pocket/turbo-8.webp)" in page
    assert "raw-28" not in page
    training = {"stages": [{"stage": "vae", "command": "run it", "seed": 3, "loss": [[1, 0.5]]}]}
    (model / "training.json").write_text(json.dumps(training))
    (tmp_path / "pocket" / "by-eye.md").write_text("All of them.")
    evaluate.main([*command[:-1], "none"])
    page = (tmp_path / "pocket.md").read_text()
    assert "| turbo-4 | 4 | 0 |" in page, "figures of an earlier run stay"
    assert "    run it" in page
    assert "## By eye\n\nAll of them." in page
    assert "| loss | 0.5 |" in page
