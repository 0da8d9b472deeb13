"""What people may ask for, and the sentence they get when they may not."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import models
from inference.request import (
    PROMPT_CHARACTERS_MAX,
    SEED_MAX,
    AdapterUse,
    InvalidRequest,
    as_json,
    from_json,
    input_hash,
    parse,
    picture_seed,
)

POCKET = models.find("pocket-turbo")
GOOD = {"prompt": "a red apple", "width": 256, "height": 256, "images": 1, "seed": 7}

BAD: list[tuple[str, object]] = [
    ("prompt", ""),
    ("prompt", "   \n "),
    ("prompt", None),
    ("prompt", 5),
    ("prompt", "x" * 100_000),
    ("prompt", "x" * (PROMPT_CHARACTERS_MAX + 1)),
    ("prompt", "an apple\x00"),
    ("prompt", "an \x1b[31mapple"),
    ("prompt", "half a \ud83d character"),
    ("prompt", "\u202e\u200b\n\u00a0\u200d"),
    ("width", 250),
    ("width", 64),
    ("height", 4096),
    ("height", -256),
    ("width", "wide"),
    ("width", None),
    ("width", True),
    ("width", 10**400),
    ("width", 1e308),
    ("images", 0),
    ("images", 5),
    ("images", 500),
    ("images", 1.5),
    ("images", float("nan")),
    ("images", float("inf")),
    ("seed", "seven"),
    ("seed", 1.5),
    ("seed", -1),
    ("seed", SEED_MAX + 1),
    ("seed", "9" * 100_000),
    ("seed", "\u0667"),
    ("seed", []),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=lambda value: repr(value)[:24])
def test_a_bad_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse({**GOOD, field: value}, POCKET)
    assert refused.value.field == field
    assert refused.value.status == 422
    assert len(refused.value.message) < 200, "what was sent is not sent back"
    assert refused.value.message.endswith(".")


def test_too_many_pixels_are_refused_although_each_side_is_in_range() -> None:
    raw = models.find("krea-2-raw")
    with pytest.raises(InvalidRequest, match="1,048,576"):
        parse({**GOOD, "width": 1600, "height": 1600}, raw)


@pytest.mark.parametrize("seed", [7, 7.0, "7", " 7 "])
def test_numbers_come_in_as_browsers_send_them(seed: object) -> None:
    request = parse({**GOOD, "seed": seed, "images": 2.0}, POCKET)
    assert (request.seed, request.seed_chosen, request.images) == (7, True, 2)


@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_seed_is_drawn(missing: object) -> None:
    drawn = {parse({**GOOD, "seed": missing}, POCKET).seed for _ in range(8)}
    assert len(drawn) > 1
    assert all(0 <= seed <= SEED_MAX for seed in drawn)


def test_the_hash_is_of_the_choices_and_not_of_a_drawn_seed() -> None:
    unseeded = {**GOOD, "seed": None}
    assert input_hash(parse(unseeded, POCKET)) == input_hash(parse(unseeded, POCKET))
    assert input_hash(parse(GOOD, POCKET)) == input_hash(parse({**GOOD, "seed": "7"}, POCKET))
    for field, other in (("prompt", "a pear"), ("width", 128), ("images", 2), ("seed", 8)):
        assert input_hash(parse({**GOOD, field: other}, POCKET)) != input_hash(parse(GOOD, POCKET))


ONE, TWO = {"lora": "a" * 64, "strength": 0.5}, {"lora": "B" * 64, "strength": "-1"}


def test_loras_are_sorted_stored_and_part_of_the_hash() -> None:
    request = parse({**GOOD, "adapters": [TWO, ONE]}, POCKET)
    assert request.adapters == (AdapterUse("a" * 64, 0.5), AdapterUse("b" * 64, -1.0))
    assert from_json(json.loads(json.dumps(as_json(request)))) == request
    assert request == parse({**GOOD, "adapters": json.dumps([ONE, TWO])}, POCKET)
    weaker = parse({**GOOD, "adapters": [TWO, {**ONE, "strength": 0.25}]}, POCKET)
    hashes = {input_hash(one) for one in (request, weaker, parse(GOOD, POCKET))}
    assert len(hashes) == len([request, weaker, GOOD])


def test_a_row_from_before_there_were_loras_is_read_and_hashes_as_it_did() -> None:
    stored = as_json(parse(GOOD, POCKET))
    assert "adapters" not in stored
    assert from_json(stored).adapters == ()


@pytest.mark.parametrize(
    "chosen",
    [
        [ONE, {**ONE, "lora": "A" * 64}],
        [{"lora": f"{n:064x}"} for n in range(5)],
        [{**ONE, "strength": 2.01}],
        [{**ONE, "strength": math.nan}],
        [{**ONE, "strength": "inf"}],
        [{**ONE, "strength": True}],
        [{**ONE, "strength": 10**400}],
        [{"strength": 1}],
        [{"lora": "../../etc/passwd"}],
        ["a" * 64],
        "[",
        "7",
        {"lora": "a" * 64},
    ],
)
def test_loras_that_cannot_be_used_are_refused(chosen: object) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse({**GOOD, "adapters": chosen}, POCKET)
    assert refusal.value.field == "adapters"


def test_a_prompt_keeps_its_lines_and_its_script() -> None:
    request = parse({**GOOD, "prompt": " ein Apfel\r\n\tरंगीन 👩‍🎨 "}, POCKET)
    assert request.prompt == "ein Apfel\n\tरंगीन 👩‍🎨"


def test_seeds_of_later_pictures_wrap_around() -> None:
    request = parse({**GOOD, "seed": SEED_MAX, "images": 2}, POCKET)
    assert [picture_seed(request, index) for index in range(2)] == [SEED_MAX, 0]


@given(st.text(), st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.booleans()))
def test_any_fields_give_a_request_that_survives_storage_or_a_refusal(
    prompt: str, number: object
) -> None:
    try:
        request = parse({**GOOD, "prompt": prompt, "seed": number}, POCKET)
    except InvalidRequest:
        return
    assert from_json(as_json(request)) == request
    assert "\x00" not in request.prompt
    request.prompt.encode()
