"""`make eval`: held-out prompts through Krea2Pipeline, scored by the judge, written as a report.

Each row of ROWS is one way to run the model (which weights, how many steps, which change); a row's
figures go to `<out>/pocket/<row>.json` and its pictures to a contact sheet beside it, so that rows
can be run apart, on another device, and the report (`report.write`) is made of whatever is there.

    python -m inference.training.evaluate --model weights --out docs
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.training import judge as judging
from inference.training import marks as marking
from inference.training import measures, report, scenes
from inference.training.drawing import (
    LORA_FOLDER,
    ROWS,
    SEED,
    SIDE_PX,
    TWINS,
    Bytes,
    Row,
    draw,
    open_pipeline,
)
from inference.training.judge import Judge
from inference.training.marks import Marks, Verdict
from inference.training.scenes import Labels
from inference.training.subjects import LORA_STYLE

# Mean and covariance of the features of real scenes.
Reference = tuple[NDArray[np.float64], NDArray[np.float64]]
SEEDS_PER_PROMPT = 4
SHEET_PICTURES = 50


@dataclass(frozen=True)
class Plan:
    """How much to draw and where."""

    model: Path
    out: Path
    device: torch.device
    batch: int
    singles: int
    pairs: int
    lines: int
    diverse: int

    def prompts(self, kind: str) -> list[tuple[str, Labels]]:
        """The prompts of a row; the order is fixed, so a smaller plan sees a prefix of each."""
        if kind == "line":
            return scenes.evaluation_prompts("line", self.lines)
        single = scenes.evaluation_prompts("single", self.singles)
        return single + scenes.evaluation_prompts("pair", self.pairs)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `python -m inference.training.evaluate`."""
    options = _arguments(argv)
    device = torch.device(options.device)
    gpu = device.type == "cuda"
    plan = Plan(
        model=options.model,
        out=options.out,
        device=device,
        batch=options.batch or (128 if gpu else 4),
        singles=options.singles if options.singles is not None else 512 if gpu else 24,
        pairs=options.pairs if options.pairs is not None else 256 if gpu else 12,
        lines=options.lines if options.lines is not None else 256 if gpu else 12,
        diverse=options.diverse if options.diverse is not None else 64 if gpu else 4,
    )
    wanted = options.rows.split(",") if options.rows else [row.name for row in ROWS]
    folder = options.judge or plan.model / "pocket-judge"
    judge, reference = judging.load(folder, plan.device), judging.reference(folder)
    run([row for row in ROWS if row.name in wanted], plan, judge, reference)
    if options.data is not None:
        measure_real(plan, options.data, judge, reference)
    print(report.write(plan.out, plan.model))


def run(rows: Sequence[Row], plan: Plan, judge: Judge, reference: Reference) -> None:
    """Run every row whose weights are there; a row without weights is left out with a word."""
    drawn: dict[str, Bytes] = {}
    for row in rows:
        needed = [row.weights] if row.strength is None else [row.weights, LORA_FOLDER]
        if not all((plan.model / part).exists() for part in needed):
            print(f"{row.name}: no weights in {plan.model}, left out", flush=True)
            continue
        drawn[row.name] = _run_row(row, plan, judge, reference, drawn.get(TWINS.get(row.name, "")))


def _run_row(
    row: Row,
    plan: Plan,
    judge: Judge,
    reference: Reference,
    twin: Bytes | None,
) -> Bytes:
    pipe = open_pipeline(row, plan.model, plan.device)
    prompts = plan.prompts(row.prompts)
    captions, labels = [text for text, _ in prompts], [label for _, label in prompts]
    start = time.monotonic()
    pictures = draw(pipe, row, captions, batch=plan.batch)
    seconds = time.monotonic() - start
    verdict = look(judge, pictures)
    marks = marking.mark(verdict, labels)
    figures: dict[str, Any] = asdict(row) | {
        "device": _device_name(plan.device),
        "pictures": len(pictures),
        "seconds_per_picture": round(seconds / len(pictures), 4),
        "accuracy": accuracy(marks),
    }
    features = verdict.features.astype(np.float64)
    if row.prompts == "main" and row.square:  # the reference scenes are squares
        figures["frechet"] = round(_frechet(features, reference), 3)
    if row.prompts == "line":
        figures["line_style_share"] = float((verdict.style == LORA_STYLE).mean())
    if twin is not None:
        figures |= _apart(pictures, twin, features, look(judge, twin).features.astype(np.float64))
    if row.diverse:
        figures["diversity"] = round(_diversity(pipe, row, plan, judge), 4)
    _keep(plan, row.name, figures)
    if not row.change:  # a variant's pictures look like its twin's; their difference is a figure
        _write_sheet(plan.out / "pocket" / f"{row.name}.webp", pictures, captions, marks)
    print(
        json.dumps({"row": row.name, **figures["accuracy"], "seconds": round(seconds, 1)}),
        flush=True,
    )
    return pictures


def _write_sheet(path: Path, pictures: Bytes, captions: Sequence[str], marks: Marks) -> None:
    """Draw the contact sheet of SHEET_PICTURES pictures, evenly spaced in the list."""
    chosen = _spread(len(pictures), SHEET_PICTURES)
    report.sheet(
        path,
        pictures[chosen],
        [captions[at] for at in chosen],
        [_verdict_words(marks, at) for at in chosen],
    )


def look(judge: Judge, pictures: Bytes) -> Verdict:
    """Judge pictures of bytes."""
    parts = np.array_split(pictures, max(1, len(pictures) // 128))
    return marking.join(
        judging.look(judge, torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1)
        for part in parts
    )


def accuracy(marks: Marks) -> dict[str, dict[str, float]]:
    """Share right with its 95 % interval, by head."""
    pair = marks.is_pair
    heads = {
        "subject": marks.subject[~pair],
        "pair_subjects": marks.subject[pair],
        "relation": marks.relation[pair],
        "style": marks.style,
        "background": marks.background,
    }
    answer = {}
    for head, rows in heads.items():
        if len(rows):
            low, high = measures.wilson(int(rows.sum()), len(rows))
            answer[head] = {"share": float(rows.mean()), "low": low, "high": high, "of": len(rows)}
    return answer


def _apart(
    pictures: Bytes, twin: Bytes, features: NDArray[np.float64], theirs: NDArray[np.float64]
) -> dict[str, float]:
    """How far pictures are from their twins of the same seeds, to a meter and to the judge."""
    gap = np.abs(pictures.astype(np.int16) - twin.astype(np.int16)).mean()
    ours, others = (each.astype(np.float32) / 127.5 - 1 for each in (pictures, twin))
    return {
        "mean_pixel_difference_to_twin": round(float(gap), 3),
        "psnr_db_to_twin": round(measures.psnr(others, ours), 2),
        "feature_distance_to_twin": round(measures.distance(features, theirs), 4),
    }


def _frechet(features: NDArray[np.float64], reference: Reference) -> float:
    covariance = np.cov(features, rowvar=False)
    return measures.frechet(features.mean(0), covariance, *reference)


def _diversity(pipe: Any, row: Row, plan: Plan, judge: Judge) -> float:
    captions = [text for text, _ in scenes.evaluation_prompts("single", plan.diverse)]
    pictures = draw(pipe, row, captions, batch=plan.batch, seeds=SEEDS_PER_PROMPT)
    features = look(judge, pictures).features.astype(np.float64)
    return measures.diversity(features.reshape(plan.diverse, SEEDS_PER_PROMPT, -1))


def measure_real(plan: Plan, data: Path, judge: Judge, reference: Reference) -> None:
    """Write two rows about real held-out scenes, as drawn and through the VAE (needs the atlas).

    They bound every other row: the judge's own mistakes, the Fréchet distance that a set of this
    size has even when it is real, and what the VAE alone costs.
    """
    atlas = scenes.Atlas.load(data, plan.device)
    vae: Any = open_pipeline(Row("vae", "pocket-turbo", 8), plan.model, plan.device).vae
    rng = np.random.default_rng(SEED)
    count = plan.singles + plan.pairs
    drawn = scenes.sample(
        atlas, count, rng=rng, split="heldout", plain=True, pair_share=plan.pairs / count
    )
    real, again = [], []
    with torch.inference_mode():
        for at in range(0, count, 8):
            clean = scenes.render(atlas, drawn[at : at + 8], SIDE_PX)
            latent = vae.encode(clean[:, :, None]).latent_dist.mode()
            real.append(clean.float().cpu())
            again.append(vae.decode(latent).sample[:, :, 0].clamp(-1, 1).float().cpu())
    clean, decoded = torch.cat(real), torch.cat(again)
    psnr = measures.psnr(clean.numpy(), decoded.numpy())
    labels = scenes.labels_of(drawn)
    for name, pictures in (("real", clean), ("real-through-vae", decoded)):
        verdict = judging.look(judge, pictures)
        figures = {
            "name": name,
            "pictures": count,
            "device": _device_name(plan.device),
            "accuracy": accuracy(marking.mark(verdict, labels)),
            "frechet": round(_frechet(verdict.features.astype(np.float64), reference), 3),
        }
        if pictures is decoded:
            figures["psnr_db"] = round(psnr, 2)
        _keep(plan, name, figures)


def _keep(plan: Plan, name: str, figures: dict[str, Any]) -> None:
    folder = plan.out / "pocket"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")


def _verdict_words(marks: Marks, at: int) -> str:
    heads = {"subject": marks.subject, "style": marks.style, "background": marks.background}
    if marks.is_pair[at]:
        heads["relation"] = marks.relation
    missed = [head for head, rows in heads.items() if not rows[at]]
    return f"judge: not the {', '.join(missed)}" if missed else ""


def _spread(total: int, wanted: int) -> list[int]:
    """Evenly spaced places in a list: chosen before anyone has seen a picture."""
    return sorted({round(at) for at in np.linspace(0, total - 1, min(wanted, total))})


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluate the pocket model on held-out prompts.")
    parser.add_argument("--model", type=Path, default=Path("weights"))
    parser.add_argument(
        "--judge", type=Path, help="folder of the judge; default: pocket-judge in --model"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--data", type=Path, help="data/pocket, to measure the VAE as well")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", help="comma-separated row names; default: all")
    for name in ("batch", "singles", "pairs", "lines", "diverse"):
        parser.add_argument(f"--{name}", type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
