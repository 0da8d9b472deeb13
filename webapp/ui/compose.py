"""What the creator's form does: submit, price, sizes, cancel, and settings loaded again.

Each function here makes a Gradio handler: it asks who is there, calls one use-case and turns an
error into a sentence beside its field. Called by `webapp.ui.create`, which wires them.
"""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import gradio as gr
from sqlalchemy.exc import OperationalError

from inference import generations, history, models, presence
from inference.models import ModelUnavailable
from inference.request import GenerationRequest, InvalidRequest
from licensing import budgets, ledger, licence, prices, standing
from licensing.agreements import AgreementRequired
from licensing.budgets import BudgetStanding
from licensing.errors import AtelierError
from licensing.licence import LicenceProblem
from licensing.moderation import PromptRefused
from licensing.money import format_usd
from licensing.seats import Member
from webapp import generate, identity
from webapp.errors import DATABASE_AWAY
from webapp.studio import Studio
from webapp.ui import loras
from webapp.ui.choices import model_choices, size_choices

# Where the error of a field is shown; whatever is of no one field stands beside the button.
SLOTS = ("prompt", "model", "size", "images", "seed", "project", "adapters", "form")
_SLOT_OF_FIELD = {"width": "size", "height": "size"}

Handler = Callable[..., Any]


def submitting(studio: Studio) -> Handler:
    """Send the form; returns the key that was answered and the text of every error slot."""

    def submit(
        request: gr.Request,
        *,
        prompt: str,
        model: str,
        size: Mapping[str, Any],
        images: str,
        seed: str,
        project: str,
        adapters: object,
        idempotency_key: str,
    ) -> list[str]:
        fields = {"prompt": prompt, "model": model, "images": images, "seed": (seed or "").strip()}
        sides = {**_sides(size), "project": project, "adapters": loras.chosen_of(adapters)}
        slots = _errors_of(
            studio,
            request,
            lambda member: generate.submit(studio, member, {**fields, **sides}, idempotency_key),
        )
        return [idempotency_key, *slots]

    return submit


def cancelling(studio: Studio) -> Handler:
    """Cancel the job that the card named; returns the text of every error slot."""

    def cancel(request: gr.Request, event: gr.EventData) -> list[str]:
        return _errors_of(
            studio, request, lambda member: generate.cancel(studio, member, _id(event))
        )

    return cancel


def reusing(studio: Studio) -> Handler:
    """Load a job's settings into the form: prompt, model, size, number, seed, LoRAs, slots.

    The seed is left out where another picture of the same words is wanted. The project stays as it
    is: it says what is worked on now, not how the picture was made.
    """

    def reuse(request: gr.Request, event: gr.EventData) -> list[Any]:
        member = identity.require_member(studio, request.request)
        with studio.database.read() as session:
            asked = generations.access(session, member, generate.job_id(_id(event))).asked
            chosen, left_out = loras.reused(session, member, asked)
        seed = "" if _said(event, "seed") == "new" else str(asked.seed)
        slots = [_error(" ".join(left_out)) if name == "adapters" else "" for name in SLOTS]
        return [asked.prompt, *_choices(asked), seed, chosen, *slots]

    return reuse


def remembering(studio: Studio) -> Handler:
    """Begin with the choices of the member's newest job: model, size, number, LoRAs, project."""

    def remember(request: gr.Request) -> list[Any]:
        member = identity.require_member(studio, request.request)
        with studio.database.read() as session:
            last = history.newest(session, member)
            if last is None or not any(model.id == last.model for model in models.CATALOGUE):
                return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), ""]
            chosen, _ = loras.reused(session, member, last.asked)
        return [*_choices(last.asked), chosen, last.project or ""]

    return remember


def pricing(studio: Studio) -> Handler:
    """Say what the form costs now, what the balance is after it, and what is left of budgets."""

    def price(
        request: gr.Request, *, model: str, size: Mapping[str, Any], images: str
    ) -> list[str]:
        member = identity.require_member(studio, request.request)
        with studio.database.read() as session:
            available = ledger.balance(session, member.organisation_id).available_micros
            balance = f"Balance {format_usd(available)}"
            standings = budgets.budgets_of(session, member_id=member.id)
            try:
                fields = {"model": model, "images": images, **_sides(size)}
                quoted = generate.quote(session, fields)
            except AtelierError:
                return ["<p>No price yet</p>", f"<p>{balance}</p>", _budget_lines(standings, 0)]
        noun = "picture" if quoted.images == 1 else "pictures"
        cost = (
            f"<p><strong>{format_usd(quoted.total_micros)}</strong> for {quoted.images} {noun}</p>"
        )
        left = available - quoted.total_micros
        style, words = ("short", "is missing") if left < 0 else ("", "left after")
        before = f'<span class="number">{balance},</span>'  # a line ends here, not inside
        after = f'<span class="number">{format_usd(abs(left))} {words}</span>'
        return [
            cost,
            f'<p class="{style}">{before} {after}</p>',
            _budget_lines(standings, quoted.total_micros),
        ]

    return price


def _budget_lines(standings: list[BudgetStanding], price_micros: int) -> str:
    """A line for each budget of the member's own, and for the team's where it ends sooner."""
    own = [standing for standing in standings if standing.scope == "member"]
    least = min((standing.left_micros for standing in own), default=None)
    shown = own + [
        standing
        for standing in standings
        if standing.scope == "team" and (least is None or standing.left_micros < least)
    ]
    return "".join(_budget_line(standing, price_micros) for standing in shown)


def _budget_line(standing: BudgetStanding, price_micros: int) -> str:
    name = "Budget" if standing.scope == "member" else escape(f"Budget of {standing.name}")
    left, limit = format_usd(standing.left_micros), format_usd(standing.limit_micros)
    style = "short" if standing.left_micros < max(price_micros, 1) else ""
    whole = f"{limit} a {standing.period}"
    held = f", {format_usd(standing.held_micros)} set aside" if standing.held_micros else ""
    return (
        f'<p class="{style}" title="{whole}, {format_usd(standing.used_micros)} used{held}">'
        f'{name} <span class="number">{left}</span> left'
        f'<span class="visually-hidden"> of {whole}</span> until {standing.ends}</p>'
    )


def explaining(studio: Studio) -> Handler:
    """Say why the person cannot generate with the chosen model; nothing where they can."""

    def explain(request: gr.Request, *, model: str) -> str:
        member = identity.require_member(studio, request.request)
        with studio.database.read() as session:
            reasons = standing.why_not(session, member, model_id=model)
        if not reasons:
            return ""
        lines = "".join(f"<p>{escape(reason.sentence)}{_way(reason)}</p>" for reason in reasons)
        return f'<div class="notice care stack" role="status">{lines}</div>'

    return explain


def _way(reason: standing.Reason) -> str:
    """A link, where the person can take the reason away by themselves."""
    if reason.who_can_fix != "you" or reason.href is None:
        return ""
    return f' <a href="{reason.href}?next=/create">Read</a>'


def listing_models(studio: Studio) -> Handler:
    """Say of every model whether it can run here, and why not."""

    def list_models(request: gr.Request) -> Any:
        identity.require_member(studio, request.request)
        with studio.database.read() as session:
            problems = {
                model.id: licence.sentence(session, model.id)
                or presence.problem(session, model, studio.settings.weights)
                for model in models.CATALOGUE
            }
            listed = prices.in_force(session)
        return gr.update(choices=model_choices(problems, listed))

    return list_models


def sizes_for(model: str) -> Any:
    """Offer the sizes of the model that was chosen, its square first."""
    chosen = models.find(model)
    side = str(chosen.side_default)
    return gr.update(choices=size_choices(chosen), value={"width": side, "height": side})


def _errors_of(studio: Studio, request: gr.Request, run: Callable[[Member], object]) -> list[str]:
    """Run it for whoever asks; return what every slot shows, in the order of `SLOTS`."""
    slot, shown = "", ""
    try:
        run(identity.require_member(studio, request.request))
    except AgreementRequired as error:
        slot, shown = "form", f'{escape(error.message)} <a href="/agreements?next=/create">Read</a>'
    except AtelierError as error:
        slot, shown = _slot_of(error), escape(error.message)
    except OperationalError:
        slot, shown = "form", DATABASE_AWAY
    return [_alert(shown) if name == slot else "" for name in SLOTS]


def _error(words: str) -> str:
    return _alert(escape(words)) if words else ""


def _alert(html: str) -> str:
    return f'<p class="field-error" role="alert">{html}</p>'


def _slot_of(error: AtelierError) -> str:
    if isinstance(error, InvalidRequest):
        field = _SLOT_OF_FIELD.get(error.field, error.field)
        return field if field in SLOTS else "form"
    if isinstance(error, PromptRefused):
        return "prompt"
    return "model" if isinstance(error, ModelUnavailable | LicenceProblem) else "form"


def _sides(size: object) -> dict[str, object]:
    """The picker's value as the two fields of a request; nonsense is left for `parse` to refuse."""
    sides = size if isinstance(size, Mapping) else {}
    return {"width": sides.get("width", ""), "height": sides.get("height", "")}


def _choices(asked: GenerationRequest) -> list[Any]:
    """A request's model, size and number as the form's controls take them."""
    model = models.find(asked.model)
    size = {"width": str(asked.width), "height": str(asked.height)}
    return [model.id, gr.update(choices=size_choices(model), value=size), str(asked.images)]


def _id(event: gr.EventData) -> object:
    """The job that a card named; what the page sent is not trusted, only looked up."""
    return _said(event, "id")


def _said(event: gr.EventData, name: str) -> object:
    return event._data.get(name)  # noqa: SLF001 - what __getattr__ of EventData does, without raising
