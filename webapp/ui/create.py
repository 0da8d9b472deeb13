"""The creator page: a prompt with its price, a row of instruments, and what becomes of it below.

The form is Gradio's; its handlers are in `webapp.ui.compose`. The rest is drawn by feed.js from
GET /events. What must hold: a handler never trusts what the page says of itself, no text of a
person enters a template, and no event is queued in Gradio (waiting is Celery's).
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import FastAPI

from inference import models
from inference.models import Model
from inference.request import IMAGES_MAX, PROJECT_CHARACTERS_MAX
from licensing.seats import Page
from webapp.studio import Studio
from webapp.ui import compose, loras, shell
from webapp.ui.choices import model_choices, model_picker, size_choices, size_picker
from webapp.ui.feed import FEED, ON_LOAD

SCRIPTS = ("compose.js", "prompt.js", "feed.js")
STYLES = ("create.css",)

# Runs in the browser before the handler: adds the key of this state of the form.
_WITH_KEY = """(...fields) => {
  fields[fields.length - 1] = window.atelier.keyFor(JSON.stringify(fields.slice(0, -1)));
  return fields;
}"""
_ANSWERED = "(key) => window.atelier.answered(key)"
_LOADED = "() => window.atelier.loaded()"
# "once", Gradio's default, drops a press while an earlier one is on its way; our keys allow more.
_DIRECT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple"}
# In the order of compose.reusing and compose.remembering.
_REUSED = ("prompt", "model", "size", "images", "seed", "adapters")
_REMEMBERED = ("model", "size", "images", "adapters", "project")
_HEADING = '<h1 class="visually-hidden" id="content" tabindex="-1">Create pictures</h1>'
_SEED_BUTTON = '<button type="button" class="seed-lock">Keep the last one</button>'
# Filled by prompt.js: how long the prompt is, once that matters, and what was asked before.
_PROMPT_TOOLS = """
<div class="prompt-tools"><span class="prompt-count small" hidden></span>
<details class="drop recent" hidden><summary class="small">Recent</summary>
<ul class="choices" aria-label="Recent prompts"></ul></details></div>
"""


@dataclass(frozen=True)
class Form:
    """The form's parts: `fields` by the names that `submit` knows, `slots` as in compose.SLOTS."""

    fields: dict[str, Any]
    slots: list[gr.HTML]
    price: list[gr.HTML]
    key: gr.Textbox
    button: gr.Button


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page at /create."""
    shell.mount(app, studio, build(studio), page=Page.CREATE, scripts=SCRIPTS, styles=STYLES)


def build(studio: Studio) -> gr.Blocks:
    """Lay out the page and wire its handlers."""
    with shell.page(studio, title="Create", active=Page.CREATE) as demo:
        with gr.Column(elem_id="composer", elem_classes="atelier"):
            gr.HTML(_HEADING, apply_default_css=False)
            why_not = gr.HTML("", elem_id="why-not", apply_default_css=False)
            form = _lay_out(models.CATALOGUE[0])
        feed = gr.HTML(
            html_template=FEED,
            js_on_load=ON_LOAD,
            elem_id="feed",
            elem_classes="atelier",
            apply_default_css=False,
        )
        _wire(studio, demo, form, feed)
        _wire_explanation(studio, demo, form, feed, why_not)
    return demo


def _wire_explanation(
    studio: Studio, demo: gr.Blocks, form: Form, feed: gr.HTML, why_not: gr.HTML
) -> None:
    """Say why nothing can be generated when the page opens, and when model or studio change."""
    model = form.fields["model"]
    for look in (demo.load, feed.studio, model.input, model.change):
        look(compose.explaining(studio), inputs_kwargs={"model": model}, outputs=why_not, **_DIRECT)


def _wire(studio: Studio, demo: gr.Blocks, form: Form, feed: gr.HTML) -> None:
    """Connect the form's events and the feed's signals to their handlers."""
    fields = form.fields
    price: dict[str, Any] = {
        "fn": compose.pricing(studio),
        "inputs_kwargs": {name: fields[name] for name in ("model", "size", "images")},
        "outputs": form.price,
        **_DIRECT,
        "trigger_mode": "always_last",  # the price of what the form says now, whatever was asked
    }
    listing: dict[str, Any] = {
        "fn": compose.listing_models(studio),
        "outputs": fields["model"],
        **_DIRECT,
    }
    form.button.click(
        compose.submitting(studio),
        inputs_kwargs={**fields, "idempotency_key": form.key},
        outputs=[form.key, *form.slots],
        js=_WITH_KEY,
        **_DIRECT,
    ).then(None, inputs=form.key, js=_ANSWERED, **_DIRECT)
    fields["model"].input(compose.sizes_for, fields["model"], fields["size"], **_DIRECT).then(
        **price
    )
    gr.on([fields["size"].input, fields["images"].input], **price)
    feed.cancel(compose.cancelling(studio), outputs=form.slots, **_DIRECT)
    reused = [*(fields[name] for name in _REUSED), *form.slots]
    feed.reuse(compose.reusing(studio), outputs=reused, **_DIRECT).then(**price).then(
        None, js=_LOADED, **_DIRECT
    )
    remembered = [fields[name] for name in _REMEMBERED]
    demo.load(compose.remembering(studio), outputs=remembered, **_DIRECT).then(**price)
    gr.on(
        [fields["model"].input, fields["model"].change],
        loras.for_model,
        fields["model"],
        fields["adapters"],
        **_DIRECT,
    )
    feed.studio(**price)
    for look in (demo.load, feed.studio):  # money and workers change while the page is open
        look(**listing)
        look(loras.listing_loras(studio), outputs=fields["adapters"], **_DIRECT)


def _lay_out(first: Model) -> Form:
    """Draw the prompt with price and button beside it, then one row of instruments."""
    slots = {name: _slot(name) for name in compose.SLOTS}
    with gr.Row(elem_id="ask"):
        prompt = _prompt(slots)
        with gr.Column(elem_id="send"):
            price = gr.HTML("", elem_id="price", apply_default_css=False)
            button = gr.Button("Generate", variant="primary", elem_id="generate")
            left = gr.HTML("", elem_id="left", apply_default_css=False)
            budget = gr.HTML("", elem_id="budget", apply_default_css=False)
            key = gr.Textbox(visible="hidden", elem_id="form-key")
    slots["form"].render()
    with gr.Row(elem_id="instruments"):
        fields = _instruments(first, slots)
    with _field("adapters"):
        fields["adapters"] = loras.lora_picker(first.id)
        slots["adapters"].render()
    return Form(
        {"prompt": prompt, **fields}, list(slots.values()), [price, left, budget], key, button
    )


def _prompt(slots: dict[str, gr.HTML]) -> gr.Textbox:
    with _field("prompt"):
        gr.HTML(_PROMPT_TOOLS, apply_default_css=False, elem_id="prompt-tools")
        prompt = gr.Textbox(
            label="Prompt",
            placeholder="Describe a picture: a red apple, flat style, on a blue background",
            lines=2,
            max_lines=8,
            elem_id="prompt",
        )
        slots["prompt"].render()
    return prompt


def _instruments(first: Model, slots: dict[str, gr.HTML]) -> dict[str, Any]:
    with _field("model"):
        model = model_picker(model_choices({}), first.id)
        slots["model"].render()
    with _field("images"):
        counts = [str(count) for count in range(1, IMAGES_MAX + 1)]
        images = gr.Radio(counts, value="1", label="Pictures", elem_id="images")
        slots["images"].render()
    with _field("size"):
        side = str(first.side_default)
        size = size_picker(size_choices(first), {"width": side, "height": side})
        slots["size"].render()
    with _field("seed"):
        seed = gr.Textbox(label="Seed", placeholder="Random each time", max_lines=1, elem_id="seed")
        gr.HTML(_SEED_BUTTON, apply_default_css=False, elem_id="seed-button")
        slots["seed"].render()
    with _field("project"):
        project = gr.Textbox(
            label="Project",
            placeholder="For the bill",
            max_length=PROJECT_CHARACTERS_MAX,
            max_lines=1,
            elem_id="project",
        )
        slots["project"].render()
    return {"model": model, "size": size, "images": images, "seed": seed, "project": project}


def _field(name: str) -> gr.Column:
    """A column for one field and the slot of its error."""
    return gr.Column(elem_classes="atelier-field", elem_id=f"{name}-field")


def _slot(name: str) -> gr.HTML:
    return gr.HTML(
        "", elem_id=f"{name}-error", elem_classes="slot", apply_default_css=False, render=False
    )
