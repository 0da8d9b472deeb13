"""/healthz tells of every content filter; one that cannot load stops generation; none turns off."""

import re
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from atelier_at_work import Work, open_work
from running import Running, start

from inference import presence
from inference.models import ModelUnavailable
from inference.presence import Report
from inference.safety import BLOCK_LIST, PICTURE_FILTER, PROMPT_FILTER
from inference.safety.filters import chosen
from inference.safety.image import ImageFilter
from inference.settings import from_environment
from licensing import moderation, prompt_rules
from licensing.moderation import PromptRefused
from webapp.settings import SettingsProblem

BROKEN = "The picture filter cannot load, so no picture can be made."
FORBIDDEN = "a naked child"
DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+|SMTP_[A-Z]+)`")


def say(studio: Running, picture_filter: str | None = None) -> None:
    filters = {PROMPT_FILTER: None, PICTURE_FILTER: picture_filter, BLOCK_LIST: None}
    models: dict[str, str | None] = {"pocket-turbo": None}
    told = Report(name="worker", device="CPU", state="ready", models=models, filters=filters)
    with studio.database.transaction() as session:
        presence.report(session, told)


def test_every_filter_is_told_of(demo_studio: Running) -> None:
    health = demo_studio.browser().get("/healthz")
    assert health.status_code == 200
    filters = health.json()["filters"]
    assert filters["prompt rules"] == "ready"
    for name in (PROMPT_FILTER, PICTURE_FILTER, BLOCK_LIST):
        assert filters[name].startswith("No worker")
    say(demo_studio)
    health = demo_studio.browser().get("/healthz")
    assert set(health.json()["filters"].values()) == {"ready"}
    assert health.json()["generation"] == "ready"


def test_a_filter_that_cannot_load_stops_generation_with_its_sentence(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    work: Work = open_work(stack, environ)
    say(work.running, BROKEN)
    health = work.running.browser().get("/healthz")
    assert (health.status_code, health.json()["generation"]) == (200, BROKEN)
    with pytest.raises(ModelUnavailable, match=BROKEN):
        work.submit("a red apple")
    say(work.running)
    assert work.submit("a red apple").state == "queued"


def test_without_its_prompt_rules_no_studio_starts(
    stack: ExitStack, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise FileNotFoundError("rules.toml")

    monkeypatch.setattr(prompt_rules, "load", absent)
    with pytest.raises(SettingsProblem, match="prompt rules cannot be read"):
        start(stack, environ)


@pytest.mark.parametrize("value", ["", "0", "off", "none", "false", "no", "disabled"])
def test_no_setting_turns_the_floor_off(
    stack: ExitStack, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Every documented setting and every likely one, all at once; a start may fail, never pass."""
    names = {*VARIABLE.findall(DOCUMENT.read_text("utf-8"))}
    assert len(names) > 20
    likely = {f"ATELIER_{what}" for what in ("SAFETY", "FILTERS", "NSFW", "UNSAFE", "MODERATION")}
    kept = {"DATABASE_URL", "BROKER_URL", "ATELIER_STATE"}
    given = dict.fromkeys((names | likely) - kept, value) | environ
    for name, said in given.items():
        monkeypatch.setenv(name, said)
    with suppress(ValueError):  # a worker that does not start judges nothing and makes nothing
        from_environment(given)
    filters = chosen(given).filters
    assert isinstance(filters[0], ImageFilter)
    assert moderation.check_prompt(FORBIDDEN).action == "block"
    work = open_work(stack, environ)
    with pytest.raises(PromptRefused):
        work.submit(FORBIDDEN)
