import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import colour_of, write_atlas

from inference.training import scenes
from inference.training.captions import PLACES, RELATION_PHRASES
from inference.training.paint import PATTERNS
from inference.training.subjects import (
    BACKGROUNDS,
    LORA_STYLE,
    STYLE_NOUNS,
    STYLE_PHRASES,
    TINTS,
    subjects,
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> scenes.Atlas:
    return scenes.Atlas.load(write_atlas(tmp_path_factory.mktemp("art") / "atlas"))


def held_out(drawn: scenes.Scenes) -> np.ndarray:
    single = scenes.held_out_single(drawn.subject1, drawn.style, drawn.background)
    pair = scenes.held_out_pair(drawn.subject1, drawn.subject2, drawn.relation)
    tint = scenes.held_out_tint(drawn.subject1, drawn.tint) & (drawn.tint >= 0)
    return np.where(drawn.subject2 >= 0, pair, single) | tint


def test_training_never_sees_what_is_held_out(atlas: scenes.Atlas) -> None:
    rng = np.random.default_rng(0)
    assert not held_out(scenes.sample(atlas, 20_000, rng=rng, split="train")).any()
    assert held_out(scenes.sample(atlas, 2_000, rng=rng, split="heldout")).all()


def test_a_pair_is_held_out_however_it_is_said() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.integers(0, 283, (2, 5_000))
    relation = rng.integers(0, 4, 5_000)
    opposite = np.array([1, 0, 3, 2])[relation]
    held = scenes.held_out_pair(one, two, relation)
    assert (held == scenes.held_out_pair(two, one, opposite)).all()
    assert 0.08 < held.mean() < 0.12


def test_the_lora_style_is_drawn_only_when_asked_for(atlas: scenes.Atlas) -> None:
    rng = np.random.default_rng(2)
    assert LORA_STYLE not in scenes.sample(atlas, 5_000, rng=rng).style
    assert set(scenes.sample(atlas, 500, rng=rng, styles=(LORA_STYLE,)).style) == {LORA_STYLE}


def test_every_word_of_a_caption_is_true(atlas: scenes.Atlas) -> None:
    drawn = scenes.sample(atlas, 4_000, rng=np.random.default_rng(3))
    for at, caption in enumerate(drawn.captions):
        text = caption.lower()
        thing = subjects()[drawn.subject1[at]]
        assert (thing.plural if drawn.count[at] > 1 else thing.name) in text
        ground = f"{BACKGROUNDS[drawn.background[at]].name}"
        if drawn.says_background[at]:
            assert ground in text
            assert ("striped" in text) == (PATTERNS[drawn.pattern[at]] == "stripes")
        style = drawn.style[at]
        words = STYLE_PHRASES[style] + STYLE_NOUNS[style]
        assert any(word in text for word in words) == drawn.says_style[at]
        if drawn.tint[at] >= 0:
            assert re.search(rf"\b{TINTS[drawn.tint[at]][0]} {thing.name}", text) or (
                drawn.count[at] > 1
            )
        if drawn.subject2[at] >= 0:
            assert_relation_is_seen(drawn, at, text)
        elif drawn.place[at]:
            assert PLACES[drawn.place[at]] in text


def assert_relation_is_seen(drawn: scenes.Scenes, at: int, text: str) -> None:
    """Read the caption as a person would and look at where the two things stand."""
    names = [subjects()[index[at]].name for index in (drawn.subject1, drawn.subject2)]
    phrase, kind = max(
        (
            (phrase, kind)
            for kind, phrases in enumerate(RELATION_PHRASES)
            for phrase in phrases
            if f" {phrase} " in text
        ),
        key=lambda found: len(found[0]),
    )
    before, after = text.split(f" {phrase} ", 1)
    first = 0 if names[0] in before and names[1] in after else 1
    assert names[first] in before
    assert names[1 - first] in after
    gap = drawn.centre[at, first] - drawn.centre[at, 1 - first]
    axis, sign = kind // 2, -1 if kind % 2 == 0 else 1
    assert gap[axis] * sign > 0.3
    assert abs(gap[1 - axis]) < 0.1


def test_pictures_show_the_labels(atlas: scenes.Atlas) -> None:
    drawn = scenes.sample(atlas, 64, rng=np.random.default_rng(4), plain=True, pair_share=0.5)
    pictures = (scenes.render(atlas, drawn, 96) + 1) * 127.5
    for at, picture in enumerate(pictures):
        ground = torch.tensor(BACKGROUNDS[drawn.background[at]].rgb, dtype=torch.float32)
        assert (picture[:, 1, 1] - ground).abs().max() < 30
        things = [drawn.subject1[at], drawn.subject2[at]]
        for layer, thing in enumerate(things):
            if thing < 0:
                continue
            x, y = (int(value) for value in drawn.centre[at, layer] * 96)
            assert torch.allclose(
                picture[:, y, x], torch.tensor(colour_of(int(thing)), dtype=torch.float32), atol=2
            )


@pytest.mark.parametrize(("width", "height"), [(160, 64), (64, 112)])
def test_other_shapes_show_whole_subjects_where_the_labels_say(
    atlas: scenes.Atlas, width: int, height: int
) -> None:
    drawn = scenes.sample(atlas, 48, rng=np.random.default_rng(9), pair_share=0.5, plain=True)
    pictures = (scenes.render(atlas, drawn, width, height) + 1) * 127.5
    assert pictures.shape == (48, 3, height, width)
    for at, picture in enumerate(pictures):
        thing = torch.tensor(colour_of(int(drawn.subject1[at])), dtype=torch.float32)
        x, y = drawn.centre[at, 0]
        assert torch.allclose(picture[:, int(y * height), int(x * width)], thing, atol=2)
        if drawn.subject2[at] < 0:
            inked = (picture - thing[:, None, None]).abs().amax(0) < 2
            wide, high = (int(inked.any(axis).sum()) for axis in (0, 1))
            side = drawn.side[at, 0] * min(width, height) * 28 / 32  # the sprite has a margin
            turned = side * 1.2  # and may be turned a little
            assert side - 3 < wide < turned + 3, "as wide as it is high, in any shape"
            assert side - 3 < high < turned + 3


def test_no_subject_is_smaller_than_a_third_of_the_side(atlas: scenes.Atlas) -> None:
    drawn = scenes.sample(atlas, 5_000, rng=np.random.default_rng(5))
    assert drawn.side[drawn.side > 0].min() > 0.35
    inside = np.abs(drawn.centre - 0.5) + drawn.side[..., None] / 2
    assert inside[drawn.side > 0].max() < 0.51


def test_a_tint_turns_the_hue_and_nothing_else(atlas: scenes.Atlas) -> None:
    drawn = scenes.sample(atlas, 8, rng=np.random.default_rng(6), plain=True, pair_share=0)
    blue = [name for name, _ in TINTS].index("blue")
    tinted = replace(drawn, tint=np.full(8, blue))
    plain, turned = scenes.render(atlas, drawn, 64), scenes.render(atlas, tinted, 64)
    for at in range(8):
        x, y = (int(value) for value in drawn.centre[at, 0] * 64)
        before, after = plain[at, :, y, x], turned[at, :, y, x]
        assert after.argmax() == 2
        assert torch.isclose(before.max(), after.max(), atol=0.01)
        assert torch.equal(plain[at, :, 0, 0], turned[at, :, 0, 0])


def test_the_same_seed_gives_the_same_scenes_without_pixels(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path / "atlas")
    full, light = scenes.Atlas.load(folder), scenes.Atlas.load(folder, pixels=False)
    one = scenes.sample(full, 300, rng=np.random.default_rng(7))
    two = scenes.sample(light, 300, rng=np.random.default_rng(7))
    assert one.captions == two.captions
    assert np.array_equal(one.centre, two.centre)


def test_an_atlas_of_other_subjects_is_refused(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path / "atlas")
    text = (folder / "manifest.json").read_text().replace("gorilla", "monkey").replace("dog", "hog")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="make data"):
        scenes.Atlas.load(folder)


def test_the_evaluation_prompts_are_all_held_out() -> None:
    kinds: tuple[tuple[scenes.Kind, int], ...] = (("single", 1024), ("pair", 512), ("line", 512))
    for kind, count in kinds:
        rows = scenes.evaluation_prompts(kind, count)
        one, two, style, ground, relation = np.array(
            [(x.subject1, x.subject2, x.style, x.background, x.relation) for _, x in rows]
        ).T
        held = (
            scenes.held_out_pair(one, two, relation)
            if kind == "pair"
            else scenes.held_out_single(one, style, ground)
        )
        assert held.all()
        assert all(subjects()[label.subject1].name in text.lower() for text, label in rows)
    with pytest.raises(ValueError, match="512"):
        scenes.evaluation_prompts("pair", 513)
