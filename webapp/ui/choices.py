"""The two pickers of the creator page that Gradio has no component for: models and sizes.

Each is a `gr.HTML` whose value is what was picked. Their scripts draw with DOM calls from props,
and the templates hold no text of a person: Gradio runs a rendered template as JavaScript.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from inference import models
from inference.models import Model
from licensing import prices
from licensing.money import format_usd
from licensing.prices import PriceList

_STATIC = Path(__file__).parent / "static"

_MODELS = """
<div class="picker"><span class="label" id="model-label">Model</span>
<details class="drop"><summary class="input" aria-describedby="model-label">
<span class="chosen"></span></summary>
<div class="choices" role="radiogroup" aria-labelledby="model-label"></div></details></div>
"""
_SIZES = """
<div class="picker" role="group" aria-labelledby="size-label">
<span class="label" id="size-label">Size in pixels</span><div class="size-row">
<div class="shapes" role="radiogroup" aria-label="Shape"></div><div class="sides">
<input type="text" inputmode="numeric" autocomplete="off" aria-label="Width"
  aria-describedby="size-error"><span aria-hidden="true">&times;</span>
<input type="text" inputmode="numeric" autocomplete="off" aria-label="Height"
  aria-describedby="size-error"></div></div></div>
"""


def model_picker(choices: Sequence[dict[str, Any]], value: str) -> gr.HTML:
    """Radio cards in a panel that opens; the value is a model's id. See `model_choices`."""
    return gr.HTML(
        value=value,
        choices=list(choices),
        html_template=_MODELS,
        js_on_load=(_STATIC / "choice.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="model",
    )


def size_picker(choices: Sequence[dict[str, Any]], value: Mapping[str, str]) -> gr.HTML:
    """Shapes and two numbers; the value is `{"width": ..., "height": ...}` as typed."""
    return gr.HTML(
        value=dict(value),
        choices=list(choices),
        html_template=_SIZES,
        js_on_load=(_STATIC / "size.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="size",
    )


def model_choices(
    problems: dict[str, str | None], listed: PriceList | None = None
) -> list[dict[str, Any]]:
    """Describe every model of the catalogue; `problems` says which cannot run here, and why.

    Prices are left out without a price list: a page is laid out before anybody asks for it.
    """
    return [
        {
            "id": model.id,
            "name": model.name,
            "note": model.note,
            "aside": f"from {format_usd(_least_micros(model, listed))}" if listed else "",
            "problem": problems.get(model.id),
        }
        for model in models.CATALOGUE
    ]


def size_choices(model: Model) -> list[dict[str, Any]]:
    """The sizes on offer, as the picker draws them."""
    return [
        {"aspect": size.aspect, "width": size.width, "height": size.height}
        for size in models.sizes(model)
    ]


def _least_micros(model: Model, listed: PriceList) -> int:
    side = model.side_default
    return prices.price(listed, model.price_class, width=side, height=side, images=1).total_micros
