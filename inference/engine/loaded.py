"""One model in memory: its parts, put together for a device."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import torch

from inference.engine import Build
from inference.engine.branches import Branches
from inference.engine.denoise import Pace
from inference.engine.device import Device
from inference.engine.ends import text_states
from inference.engine.load import build_of, load_pipeline, load_transformer
from inference.engine.preview import Preview, fit
from inference.engine.profile import Profile
from inference.engine.ranks import LeadingTransformer, Ranks
from inference.engine.text import TrimmedPipeline
from inference.engine.transformer.graphs import Stepper
from inference.engine.transformer.model import Times, Transformer
from inference.models import Model


@dataclass(frozen=True)
class Loaded:
    """One model in memory."""

    model: Model
    device: Device
    profile: Profile
    pipeline: TrimmedPipeline
    stepper: Stepper
    branches: Branches
    preview: Preview
    build: Build
    ranks: Ranks | None  # that draw with this process
    ends: Transformer  # the transformer's, for what is done beside its steps
    alone: AbstractContextManager[bool]  # held by what must not run while a step is recorded
    encoding: torch.cuda.Stream | None
    decoding: torch.cuda.Stream | None
    # By the number of a picture's tokens: times and sigmas of all steps, and how long one takes.
    scheduled: dict[int, tuple[Times, torch.Tensor]] = field(default_factory=dict)
    paces: dict[int, Pace] = field(default_factory=dict)

    def text_states(self, prompt: str) -> torch.Tensor:
        """The tapped hidden states (1, L, taps, width) of a prompt."""
        return text_states(self.pipeline, torch.device(self.device.kind), prompt)


def assemble(
    model: Model, folder: Path, device: Device, profile: Profile, ranks: Ranks | None = None
) -> Loaded:
    """Read the checkpoint in `folder` and make it ready to draw. Raises ModelUnavailable."""
    if ranks is None:
        transformer = load_transformer(folder, device, profile)
        return make_ready(
            model, device, profile, transformer, load_pipeline(folder, device, profile)
        )
    with ExitStack() as failing:
        failing.callback(ranks.part)
        ranks.start()
        transformer = LeadingTransformer(load_transformer(folder, device, profile), ranks)
        pipeline = load_pipeline(folder, device, profile)
        ranks.join()
        failing.pop_all()
    return make_ready(model, device, profile, transformer, pipeline, ranks=ranks)


def make_ready(
    model: Model,
    device: Device,
    profile: Profile,
    transformer: Transformer,
    pipeline: TrimmedPipeline,
    *,
    ranks: Ranks | None = None,
) -> Loaded:
    """Put loaded parts together."""
    on_card = device.kind == "cuda"
    alone = Lock()
    # What several processes do is not recorded: one of them alone cannot play it back.
    records = on_card and profile.resident_blocks is None and ranks is None
    stepper = Stepper(transformer, records=records, alone=alone)
    if on_card and profile.encoder_stays:
        pipeline.record_text()
    return Loaded(
        model=model,
        device=device,
        profile=profile,
        pipeline=pipeline,
        stepper=stepper,
        ranks=ranks,
        ends=transformer.without_blocks(),
        branches=Branches(stepper, ranks),
        preview=fit(pipeline.vae),
        build=build_of(device, profile, 1 if ranks is None else ranks.size),
        alone=alone,
        encoding=torch.cuda.Stream() if on_card else None,  # type: ignore[no-untyped-call]
        decoding=torch.cuda.Stream() if on_card else None,  # type: ignore[no-untyped-call]
    )
