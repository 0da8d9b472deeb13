"""Submit: the one way by which a person's wish becomes a job; also its price and its cancelling.

Page and API both come through here. What must hold: a key makes at most one job; a job is queued
exactly if its hold was placed, in one transaction; nothing is charged, and no job is left behind,
when any step says no. The broker hears of the job on the line after the commit; if it does not,
the sweep rings again for the row.
"""

import uuid
from collections.abc import Mapping

from sqlalchemy.orm import Session

from inference import generations, lifecycle, models, presence, queue, request
from inference.generations import Generation
from inference.models import Model, ModelUnavailable
from inference.request import GenerationRequest, InvalidRequest
from licensing import (
    abuse,
    adapters,
    agreements,
    budgets,
    ledger,
    licence,
    moderation,
    policy,
    prices,
    seats,
)
from licensing.adapters import AdapterNotReady
from licensing.errors import NotFound
from licensing.moderation import PromptRefused, PromptVerdict
from licensing.prices import Quote
from licensing.seats import Member, NoSeat
from webapp.studio import Studio


def submit(
    studio: Studio,
    member: Member,
    fields: Mapping[str, object],
    idempotency_key: str,
    *,
    api_key_id: uuid.UUID | None = None,
) -> Generation:
    """Queue one request of `member` and hold its price; the same key returns the first job.

    `fields` are those of `inference.request.parse`, plus `model` (an id of the catalogue) and
    `project` (a tag for the bill, or nothing). `api_key_id` names the key that the request came
    with. Raises `NoSeat`, `AgreementRequired`, `ModelUnavailable`, `LicenceProblem`,
    `InvalidRequest`, `PromptRefused`, `CoolOff`, `GenerationStopped`, `BudgetExceeded`,
    `InsufficientBalance`, `WalletFrozen`, `TooManyInFlight` and `Conflict`, each with nothing
    charged.
    """
    seats.require_seat(member)
    model = models.find(fields.get("model"))
    asked = request.parse(_with_files(studio, member, fields, model), model)
    project = request.parse_project(fields)
    verdict = _judge(studio, member, asked)
    if verdict.action == "block":
        _refuse(studio, member, asked, verdict)
    with studio.database.transaction() as session:
        licence.require_valid(session, model.id)
        agreements.require_accepted(session, member.id)
        job, is_new = generations.create(
            session,
            request=asked,
            member=member,
            quote=_price(session, model, asked),
            idempotency_key=idempotency_key,
            project=project,
            api_key_id=api_key_id,
        )
        if is_new:
            _require_still_seated(session, member)
            abuse.require_calm(session, member.id)
            _require_runnable(studio, session, model)
            _record_if_judged(session, member, asked, verdict, job.id)
            _reserve(session, job)
    if is_new:
        queue.enqueue(studio.celery, job.id, job.model)
    return job


def quote(session: Session, fields: Mapping[str, object]) -> Quote:
    """Price what the form says now; prompt, seed and LoRAs cost nothing. Raises as `submit`."""
    model = models.find(fields.get("model"))
    anyhow = {**fields, "prompt": "any", "seed": 0, "adapters": None}
    return _price(session, model, request.parse(anyhow, model))


def cancel(studio: Studio, member: Member, generation_id: object) -> Generation:
    """Stop the member's own job: at once if it waits, within a step if it runs; free of charge.

    Raises `NotFound` for a missing job and for somebody else's alike.
    """
    wanted = job_id(generation_id)
    with studio.database.transaction() as session:
        return lifecycle.request_cancel(session, member, wanted)


def job_id(given: object) -> uuid.UUID:
    """Read an id that a page sent. Raises `NotFound` for what cannot be one."""
    try:
        return uuid.UUID(str(given))
    except ValueError as error:
        raise NotFound("There is no such generation.") from error


def _with_files(
    studio: Studio, member: Member, fields: Mapping[str, object], model: Model
) -> Mapping[str, object]:
    """Name the files of the LoRAs that were chosen; they are the team's own and have passed."""
    choices = request.adapter_choices(fields)
    try:
        with studio.database.read() as session:
            files = [
                adapters.choose(session, member.organisation_id, named, model.worker_class).sha256
                for named, _ in choices
            ]
    except AdapterNotReady as error:
        raise InvalidRequest("adapters", error.message) from error
    chosen = zip(files, choices, strict=True)
    return {
        **fields,
        "adapters": [{"lora": file, "strength": strength} for file, (_, strength) in chosen],
    }


def _price(session: Session, model: Model, asked: GenerationRequest) -> Quote:
    return prices.quote(
        session, model.price_class, width=asked.width, height=asked.height, images=asked.images
    )


def _judge(studio: Studio, member: Member, asked: GenerationRequest) -> PromptVerdict:
    """Hold the prompt against the policy, as strict as the organisation made it."""
    with studio.database.read() as session:
        tightened = policy.tightened(session, member.organisation_id)
    return moderation.check_prompt(asked.prompt, tightened)


def _refuse(
    studio: Studio, member: Member, asked: GenerationRequest, verdict: PromptVerdict
) -> None:
    """Record the refusal for the reviewer, then say it: the record must outlive the error."""
    with studio.database.transaction() as session:
        agreements.require_accepted(session, member.id)
        _record_if_judged(session, member, asked, verdict, None)
    raise PromptRefused(verdict)


def _record_if_judged(
    session: Session,
    member: Member,
    asked: GenerationRequest,
    verdict: PromptVerdict,
    generation_id: uuid.UUID | None,
) -> None:
    if verdict.category is None:
        return  # simply allowed: nothing to note
    moderation.record(
        session,
        organisation_id=member.organisation_id,
        member_id=member.id,
        generation_id=generation_id,
        subject="prompt",
        action=verdict.action,
        category=verdict.category,
        source=f"rules:{verdict.rule}",
        excerpt=asked.prompt,
    )


def _require_still_seated(session: Session, member: Member) -> None:
    """Ask again under the member's lane: a departure takes it too, so one sees the other."""
    current = seats.get_member(session, member.id)
    if current is None:
        raise NoSeat("You are no longer a member of this organisation.")
    seats.require_seat(current)


def _require_runnable(studio: Studio, session: Session, model: Model) -> None:
    problem = presence.problem(session, model, studio.settings.weights)
    if problem is not None:
        raise ModelUnavailable(problem)


def _reserve(session: Session, job: Generation) -> None:
    """Count the job in its budgets, then hold its price and commit: the wallet is the last lock."""
    budgets.reserve(
        session,
        organisation_id=job.organisation_id,
        member_id=job.member_id,
        team_id=job.team_id,
        api_key_id=job.api_key_id,
        generation_id=job.id,
        amount_micros=job.price_micros,
    )
    ledger.hold_and_commit(
        session,
        organisation_id=job.organisation_id,
        member_id=job.member_id,
        generation_id=job.id,
        amount_micros=job.price_micros,
        price_version=job.price_version,
    )
