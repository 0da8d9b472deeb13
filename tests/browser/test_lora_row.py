"""The row of LoRAs in Chromium: chosen, weighted, used, loaded again, and gone."""

import uuid

import pytest
from at_create import bring_lora, choose_lora, newest, open_page
from atelier_at_work import Work
from playwright.sync_api import BrowserContext, Page, expect

from inference.adapters import Summary
from inference.request import AdapterUse
from licensing import adapters

pytestmark = pytest.mark.browser


def test_a_team_without_loras_sees_no_row(page: Page) -> None:
    expect(page.locator("#generate")).to_be_visible()
    expect(page.locator(".lora-bar")).to_be_hidden()


def test_a_lora_is_chosen_weighted_used_and_loaded_again(
    context: BrowserContext, work: Work
) -> None:
    ink, wood = bring_lora(work, "Ink wash", 1, "inkwash"), bring_lora(work, "Woodcut", 2)
    page = open_page(context, work)
    choose_lora(page, "Ink wash")
    choose_lora(page, "Woodcut")
    number = page.get_by_label("Strength of Ink wash as a number")
    number.fill("0,65")
    number.press("Tab")
    expect(page.get_by_label("Strength of Ink wash", exact=True)).to_have_value("0.65")
    page.get_by_role("slider", name="Strength of Woodcut").press("ArrowLeft")
    page.get_by_role("textbox", name="Prompt").fill("a fox")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".stage-prompt")).to_have_text("a fox")
    job = newest(work)
    assert job.asked.adapters == (AdapterUse(ink, 0.65), AdapterUse(wood, 0.95))
    work.finish(work.claim(job))
    page.locator(".stage .picture img").click()
    expect(page.locator(".viewer-panel")).to_contain_text("Ink wash, strength 0.65")
    with work.running.database.transaction() as session:
        gone = adapters.choose(session, work.member.organisation_id, wood, "pocket")
        adapters.remove(session, work.member, gone.id)
    page.locator(".viewer").get_by_role("button", name="Use these settings").click()
    expect(page.locator("#adapters-error")).to_contain_text("“Woodcut” was removed")
    expect(page.locator(".lora-chosen li")).to_have_count(1)
    expect(page.get_by_label("Strength of Ink wash as a number")).to_have_value("0.65")


def test_four_are_the_most_and_many_can_be_searched(context: BrowserContext, work: Work) -> None:
    for number in range(1, 13):
        bring_lora(work, f"Style {number}", 100 + number)
    page = open_page(context, work)
    for number in range(1, 5):
        choose_lora(page, f"Style {number}")
    page.locator(".lora-add summary").click()
    expect(page.locator(".lora-note")).to_contain_text("4 are chosen")
    page.get_by_label("Search the LoRAs").fill("style 12")
    expect(page.locator(".lora-list label")).to_have_count(1)
    expect(page.get_by_role("checkbox", name="Style 12")).to_be_disabled()


def test_a_file_is_brought_with_its_progress_or_a_sentence(
    context: BrowserContext, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = context.new_page()
    page.goto(f"{work.running.settings.url}/loras")
    problem, button = page.locator("#bring-problem"), page.get_by_role("button", name="Upload")

    def give(name: str, content: bytes) -> None:
        page.locator("#file").set_input_files(
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        )
        button.dblclick()

    give("ink.ckpt", b"PK\x03\x04")
    expect(problem).to_contain_text("Only .safetensors files")
    give("ink.safetensors", b"PK\x03\x04" + bytes(64))
    expect(problem).not_to_be_empty()
    expect(button).to_be_enabled()
    monkeypatch.setattr("webapp.bringing.inspect", lambda *_: Summary("peft", 12, 16, 1000))
    give("ink.safetensors", uuid.uuid4().bytes)
    row = page.locator("[data-loras] > li")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("ink")
    expect(row).to_contain_text("Checking")
