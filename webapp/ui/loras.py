"""The row of LoRAs on the creator page: which of the team's are chosen, and how strong each is.

A `gr.HTML` like the pickers of `webapp.ui.choices`: its script draws with DOM calls from props.
The value is `{"chosen": [{"lora", "name", "strength"}]}`; the server trusts neither name nor number
of it. A team without LoRAs sees no row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from sqlalchemy.orm import Session

from inference import models
from inference.request import ADAPTERS_MAX, STRENGTH_MAX, GenerationRequest
from licensing import adapters
from licensing.adapters import AdapterNotReady
from licensing.seats import Member
from webapp import identity
from webapp.studio import Studio

_STATIC = Path(__file__).parent / "static"

_LORAS = """
<div class="lora-bar" role="group" aria-labelledby="loras-label" hidden>
<div class="lora-head"><span class="label" id="loras-label">LoRAs</span>
<details class="drop lora-add"><summary class="button quiet">Add a LoRA</summary>
<div class="choices"><input class="input lora-search" type="search" autocomplete="off"
  aria-label="Search the LoRAs" placeholder="Search" hidden>
<div class="lora-list" role="group" aria-label="The LoRAs of the team"></div>
<p class="lora-note small muted" role="status"></p>
<p class="small"><a href="/loras">All LoRAs of the team</a></p></div></details></div>
<ul class="lora-chosen" aria-label="Chosen LoRAs"></ul>
<p class="visually-hidden lora-said" role="status" aria-live="polite"></p></div>
"""


def lora_picker(model: str) -> gr.HTML:
    """Boxes in a panel that opens, and a strength for each LoRA that is chosen."""
    return gr.HTML(
        value={"chosen": []},
        choices=[],
        model=model,
        most=ADAPTERS_MAX,
        strength=STRENGTH_MAX,
        html_template=_LORAS,
        js_on_load=(_STATIC / "lora_picker.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="adapters",
    )


def listing_loras(studio: Studio) -> Callable[..., Any]:
    """Offer what the team can use now, of every family: the script shows what fits the model."""

    def list_loras(request: gr.Request) -> Any:
        member = identity.require_member(studio, request.request)
        with studio.database.read() as session:
            shelf = adapters.shelf(session, member.organisation_id)
        choices = [
            {
                "id": str(adapter.id),
                "name": adapter.name,
                "triggers": adapter.triggers,
                "models": [
                    model.id for model in models.CATALOGUE if model.worker_class == adapter.family
                ],
            }
            for adapter in shelf
            if adapter.state == "ready"
        ]
        return gr.update(choices=choices)

    return list_loras


def for_model(model: str) -> Any:
    """Tell the row which model is chosen."""
    return gr.update(model=model)


def chosen_of(value: object) -> object:
    """The picker's value as the field of a request; nonsense is left for `parse` to refuse."""
    return value.get("chosen") if isinstance(value, dict) else value


def reused(session: Session, member: Member, asked: GenerationRequest) -> tuple[Any, list[str]]:
    """The LoRAs of a request as the row takes them, and a sentence for each that is left out."""
    family = models.find(asked.model).worker_class
    chosen, sentences = [], []
    for use in asked.adapters:
        try:
            found = adapters.choose(session, member.organisation_id, use.sha256, family)
        except AdapterNotReady as error:
            sentences.append(f"{error.message.removesuffix('.')}, so it is left out.")
            continue
        chosen.append({"lora": str(found.id), "name": found.name, "strength": use.strength})
    return gr.update(value={"chosen": chosen}, model=asked.model), sentences
