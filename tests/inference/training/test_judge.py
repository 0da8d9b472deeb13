import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import write_atlas

from inference.training import judge as judging
from inference.training import judge_training, linework, scenes
from inference.training.marks import Verdict, accuracies, mark
from inference.training.scenes import Labels
from inference.training.subjects import LORA_STYLE

FOX, APPLE, KEY = 4, 80, 200
LEFT, RIGHT, ABOVE, BELOW = range(4)
ONE, SIDE_BY_SIDE, STACKED = range(3)


def seen(layout: int, *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0) -> Verdict:
    return Verdict(
        subject=np.array([FOX]),
        halves=np.array([[left, right, top, bottom]]),
        style=np.array([2]),
        background=np.array([5]),
        layout=np.array([layout]),
        features=np.zeros((1, 3), np.float32),
    )


def pair(relation: int) -> list[Labels]:
    return [Labels(FOX, APPLE, 2, 5, relation)]


@pytest.mark.parametrize(
    ("verdict", "relation", "right"),
    [
        (seen(SIDE_BY_SIDE, left=FOX, right=APPLE), LEFT, True),
        (seen(SIDE_BY_SIDE, left=APPLE, right=FOX), RIGHT, True),
        (seen(STACKED, top=FOX, bottom=APPLE), ABOVE, True),
        (seen(STACKED, top=APPLE, bottom=FOX), BELOW, True),
        (seen(SIDE_BY_SIDE, left=APPLE, right=FOX), LEFT, False),
        (seen(STACKED, top=FOX, bottom=APPLE), BELOW, False),
        (seen(SIDE_BY_SIDE, left=FOX, right=KEY), LEFT, False),
        # Side by side, yet each half of the other axis happens to look right.
        (seen(SIDE_BY_SIDE, left=KEY, right=KEY, top=FOX, bottom=APPLE), ABOVE, False),
        (seen(ONE, left=FOX, right=APPLE), LEFT, False),
    ],
)
def test_a_relation_needs_both_things_on_their_sides(
    verdict: Verdict, relation: int, *, right: bool
) -> None:
    assert mark(verdict, pair(relation)).relation.tolist() == [right]


def test_both_subjects_are_found_wherever_they_stand() -> None:
    swapped = seen(SIDE_BY_SIDE, left=APPLE, right=FOX)
    assert mark(swapped, pair(LEFT)).subject.all()
    twice = seen(SIDE_BY_SIDE, left=FOX, right=FOX)
    assert not mark(twice, pair(LEFT)).subject.any()


def test_one_subject_is_never_counted_as_a_relation() -> None:
    marks = mark(seen(ONE), [Labels(FOX, -1, 2, 4, -1)])
    assert accuracies(marks) == {"subject": 1.0, "style": 1.0, "background": 0.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A judge trained for a few steps through the command, and the atlas it saw."""
    folder = tmp_path_factory.mktemp("judge")
    atlas = write_atlas(folder / "atlas")
    command = ["judge", "--data", str(folder), "--out", str(folder / "judge"), "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*command, "--tiny"])
        judge_training.main()
    return folder / "judge", atlas


@pytest.mark.nightly
def test_a_saved_judge_sees_the_same_and_refuses_another_list(trained: tuple[Path, Path]) -> None:
    folder, atlas_folder = trained
    atlas = scenes.Atlas.load(atlas_folder)
    drawn = scenes.sample(atlas, 6, rng=np.random.default_rng(0))
    pictures = scenes.render(atlas, drawn, 256)
    one, two = (judging.look(judging.load(folder), pictures, batch) for batch in (2, 6))
    assert np.array_equal(one.halves, two.halves)
    assert one.halves.shape == (6, 4)
    wide = judging.look(judging.load(folder), scenes.render(atlas, drawn, 384, 160))
    assert wide.halves.shape == (6, 4), "any shape will do"
    assert (folder / judging.WEIGHTS_FILE).stat().st_size < 4 * 2**20
    mean, covariance = judging.reference(folder)
    assert covariance.shape == (len(mean), len(mean)) == (judging.FEATURES, judging.FEATURES)
    card = json.loads((folder / judging.CARD_FILE).read_text())
    card["subjects"][0] = "yeti"
    (folder / judging.CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ValueError, match="train it again"):
        judging.load(folder)


@pytest.mark.nightly
def test_training_learns_what_it_is_shown(tmp_path: Path) -> None:
    atlas = scenes.Atlas.load(write_atlas(tmp_path / "atlas"))
    torch.manual_seed(0)
    drawn = scenes.sample(atlas, 256, rng=np.random.default_rng(1), plain=True)
    labels = scenes.labels_of(drawn)
    course = judge_training.Course(seconds=60, batch=32, steps=40, seed=1, rate=2e-3)
    judge = judge_training.train(atlas, course)
    good = judging.score(judge, scenes.render(atlas, drawn, 64), labels)
    other = [replace(label, background=(label.background + 1) % 12) for label in labels]
    assert good["background"] > 0.5
    assert judging.score(judge, scenes.render(atlas, drawn, 64), other)["background"] < 0.3


def test_a_scene_redrawn_is_ink_on_its_own_ground(tmp_path: Path) -> None:
    atlas = scenes.Atlas.load(write_atlas(tmp_path / "atlas"))
    drawn = scenes.sample(atlas, 64, rng=np.random.default_rng(2), styles=(0, 1, 2, 3, LORA_STYLE))
    can = linework.drawable(drawn)
    assert not can[drawn.style == LORA_STYLE].any()
    assert not can[drawn.pattern > 0].any()
    pictures = scenes.render(atlas, drawn, 128)
    redrawn = linework.redraw(pictures, drawn, torch.Generator().manual_seed(0))
    for at in np.flatnonzero(can):
        ground = redrawn[at, :, :1, :1]
        apart = (redrawn[at] - ground).abs().amax(0) > 0.05
        assert 0.002 < apart.float().mean() < 0.7, "some ink, and not all of it"
        assert redrawn[at].amin() < -0.7, "the ink is black"
        # Nothing is lighter than the ground: no colour of the subject is left.
        assert (redrawn[at] <= ground + 0.02).all()
