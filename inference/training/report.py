"""docs/pocket.md: the evaluation's tables, the bars, the sheets, and how to repeat everything.

Written only from what lies in `<out>/pocket/*.json` (by `evaluate`), the judge's card and
`training.json` beside the weights, so no figure in it can be typed by hand.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from inference.training.drawing import OTHER_SIZES

# A sheet of 50 pictures in rows of 10 stays under 2000 px wide, what a browser shows whole.
TILE_PX, CAPTION_PX, COLUMNS = 192, 64, 10
WRAP_LETTERS = 33
HEADS = ("subject", "style", "background", "pair_subjects", "relation")
MAIN_ROWS = ("real", "real-through-vae", "raw-52", "raw-28", "turbo-8", "turbo-4")
SHAPE_ROWS = (
    "turbo-8",
    *(f"turbo-8-{width}x{height}" for width, height in OTHER_SIZES),
    "raw-28",
    *(f"raw-28-{width}x{height}" for width, height in OTHER_SIZES[-2:]),
)
VARIANT_ROWS = ("turbo-8", "turbo-8-bf16", "turbo-8-int8", "turbo-8-fp8")
LORA_ROWS = ("turbo-8-lora-0", "turbo-8-lora-0.5", "turbo-8-lora-1", "turbo-8-lora-1-fused")
# (row, head, lowest share) of the model's goals.
BARS = (
    ("turbo-8", "subject", 0.90),
    ("turbo-8", "style", 0.95),
    ("turbo-8", "background", 0.95),
    ("turbo-8", "relation", 0.75),
    ("raw-52", "subject", 0.92),
)
# Turbo may lose so much of Raw's subject accuracy at 8 and at 4 steps.
GAPS = (("turbo-8", 0.03), ("turbo-4", 0.06))
REPEAT = (
    "`make data` fetches the art (package versions: `inference/training/art.py`) and packs the",
    "atlas; then the commands below in their order; then `make eval`. Seeds are in the commands;",
    "and what a command was left at its default is in `inference/training/configs/pocket.json`.",
)
LORA_SHARE, LORA_SUBJECT_LOSS, PSNR_DB = 0.85, 0.10, 30.0

Figures = Mapping[str, Any]


def write(out: Path, model: Path) -> str:
    """Write `<out>/pocket.md` from the figures in `<out>/pocket`; return its tables."""
    folder = out / "pocket"
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    card = _read(model / "pocket-judge" / "judge.json")
    tables = "\n\n".join(
        part
        for part in (
            _table("Raw and Turbo", rows, MAIN_ROWS),
            _bars(rows),
            _table("Other shapes", rows, SHAPE_ROWS),
            _lora_table(rows),
            _table("Number formats", rows, VARIANT_ROWS),
        )
        if part
    )
    parts = [
        _opening(card),
        tables,
        _by_eye(folder),
        _sheets(folder),
        _training(_read(model / "training.json")),
    ]
    (out / "pocket.md").write_text("\n\n".join(part for part in parts if part) + "\n")
    return tables


def sheet(
    path: Path, pictures: NDArray[np.uint8], captions: Sequence[str], verdicts: Sequence[str]
) -> None:
    """Write a contact sheet: pictures (N, H, W, 3), under each its caption and what was missed."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * TILE_PX, rows * (TILE_PX + CAPTION_PX)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for at, (picture, caption, verdict) in enumerate(
        zip(pictures, captions, verdicts, strict=True)
    ):
        left, top = at % columns * TILE_PX, at // columns * (TILE_PX + CAPTION_PX)
        inner = (TILE_PX - 4, TILE_PX - 4)
        tile = ImageOps.contain(Image.fromarray(picture), inner, Image.Resampling.LANCZOS)
        margin = ((inner[0] - tile.width) // 2, (inner[1] - tile.height) // 2)
        page.paste(tile, (left + 2 + margin[0], top + 2 + margin[1]))
        pen.text((left + 3, top + TILE_PX - 1), _wrap(caption), fill="black", font=font, spacing=1)
        pen.text((left + 3, top + TILE_PX + CAPTION_PX - 15), verdict, fill="crimson", font=font)
    page.save(path, quality=88, method=5)


def _wrap(text: str) -> str:
    """Break a caption into at most four lines."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > WRAP_LETTERS and len(lines) < 4:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _opening(card: Figures | None) -> str:
    lines = [
        "# The pocket model, measured",
        "",
        "Written by `python -m inference.training.evaluate`; do not edit by hand.",
        "",
        "Prompts are fixed (`inference/training/prompts.json`) and ask for combinations that were",
        "never trained on: (subject, style, background) for one subject, and (subject, subject,",
        "relation) for two. Picture *i* of a list has seed 1000 + *i*. A small CNN, trained on",
        "composed scenes and never on a generated one, says what each picture shows. A relation",
        "counts only if the layout is the one asked for and each half holds its own subject.",
        "Brackets are 95 % Wilson intervals. The Fréchet distance is between the judge's features",
        "of the pictures and of real held-out scenes: it compares rows of this page only, and the",
        'row "real" is its floor. It grows as pictures get fewer, so shorter rows show none.',
        "Diversity is the mean distance between pictures of one prompt in the same features, each",
        "scaled to length 1. Pixels off: mean difference (of 255) from the same row unchanged.",
    ]
    if card is not None:
        real = card["accuracy_on_real_held_out_scenes"]
        said = ", ".join(f"{head.replace('_', ' ')} {100 * real[head]:.2f} %" for head in HEADS)
        lines += ["", f"The judge on {card['scenes']} real held-out scenes: {said}."]
        if shapes := card.get("accuracy_by_shape"):
            least = {head: min(told[head] for told in shapes.values()) for head in HEADS}
            said = ", ".join(f"{h.replace('_', ' ')} {100 * least[h]:.2f} %" for h in HEADS)
            lines.append(f"In every other shape on offer at least: {said}.")
    return "\n".join(lines)


def _table(title: str, rows: Mapping[str, Figures], names: Sequence[str]) -> str:
    there = [rows[name] for name in names if name in rows]
    if len(there) < 2:
        return ""
    head = ["row", "steps", "guidance", "pictures", *(head.replace("_", " ") for head in HEADS)]
    head += ["Fréchet", "diversity", "pixels off"]
    lines = [f"## {title}", "", _line(head), _line(["---"] * len(head))]
    most = max(row["pictures"] for row in there)
    for row in there:
        guidance = {"pocket-raw": "3.5", "pocket-turbo": "0"}.get(row.get("weights", ""), "")
        cells = [row["name"], str(row.get("steps", "")), guidance, _pictures(row)]
        cells += [_share(row, name) for name in HEADS]
        cells += [
            _number(row, "frechet") if row["pictures"] == most else "",
            _number(row, "diversity"),
            _number(row, "mean_pixel_difference_to_twin"),
        ]
        lines.append(_line(cells))
    devices = ", ".join(sorted({row["device"] for row in there}))
    lines += ["", f"Pictures: of one subject + of two subjects. Drawn in batches on: {devices}."]
    return "\n".join(lines)


def _lora_table(rows: Mapping[str, Figures]) -> str:
    there = [rows[name] for name in LORA_ROWS if name in rows]
    if not there:
        return ""
    head = [
        "Turbo + LoRA",
        "strength",
        "pictures",
        "line style",
        "subject",
        "background",
        "pixels off",
    ]
    lines = ["## The LoRA, trained on Raw, run on Turbo", "", _line(head)]
    lines.append(_line(["---"] * len(head)))
    lines += [
        _line(
            [
                row["name"],
                str(row["strength"]),
                str(row["pictures"]),
                f"{100 * row['line_style_share']:.1f} %",
                _share(row, "subject"),
                _share(row, "background"),
                _number(row, "mean_pixel_difference_to_twin"),
            ]
        )
        for row in there
    ]
    lines += ["", "Held-out prompts that ask for the style by name."]
    return "\n".join(lines)


def _bars(rows: Mapping[str, Figures]) -> str:
    """Each goal, what was measured, and yes or no."""
    lines = []
    for name, head, least in BARS:
        if name in rows:
            share = rows[name]["accuracy"][head]["share"]
            lines.append(_bar(f"{name}: {head}", f"at least {100 * least:.0f} %", share, least))
    if "raw-52" in rows:
        raw = rows["raw-52"]["accuracy"]["subject"]["share"]
        for name, most in GAPS:
            if name in rows:
                loss = raw - rows[name]["accuracy"]["subject"]["share"]
                goal = f"at most {100 * most:.0f} points"
                lines.append(_bar(f"{name}: subject below raw-52", goal, loss, most, low=True))
    steps = [rows[name] for name in LORA_ROWS[:3] if name in rows]
    if len(steps) == 3:
        shares = [row["line_style_share"] for row in steps]
        lost = steps[0]["accuracy"]["subject"]["share"] - steps[2]["accuracy"]["subject"]["share"]
        lines.append(_bar("LoRA at 1: line style", "at least 85 %", shares[2], LORA_SHARE))
        lines.append(_bar("LoRA at 0: line style", "near 0", shares[0], 0.02, low=True))
        rising = "yes" if shares == sorted(shares) else "no"
        lines.append(_line(["LoRA style rises with strength", "", "", rising]))
        goal = "at most 10 points"
        lines.append(_bar("LoRA: subject lost", goal, lost, LORA_SUBJECT_LOSS, low=True))
    if "real-through-vae" in rows:
        value = rows["real-through-vae"]["psnr_db"]
        met = "yes" if value >= PSNR_DB else "**no**"
        lines.append(_line(["VAE reconstruction", "at least 30 dB", f"{value:.1f} dB", met]))
    if not lines:
        return ""
    top = [_line(["goal", "bar", "measured", "met"]), _line(["---"] * 4)]
    return "\n".join(["## Goals", "", *top, *lines])


def _bar(what: str, goal: str, value: float, bar: float, *, low: bool = False) -> str:
    met = value <= bar if low else value >= bar
    unit = "points" if "points" in goal else "%"
    return _line([what, goal, f"{100 * value:.1f} {unit}", "yes" if met else "**no**"])


def _sheets(folder: Path) -> str:
    """Every contact sheet that lies beside the figures."""
    lines = ["## Contact sheets", "", "Chosen by place in the list, before anyone saw them."]
    for path in sorted(folder.glob("*.webp")):
        lines += ["", f"### {path.stem}", "", f"![{path.stem}](pocket/{path.name})"]
    return "\n".join(lines) if len(lines) > 3 else ""


def _by_eye(folder: Path) -> str:
    """What a person saw in the sheets: the one part that is written by hand."""
    path = folder / "by-eye.md"
    return f"## By eye\n\n{path.read_text().strip()}" if path.exists() else ""


def _training(record: Figures | None) -> str:
    """Commands, seeds and loss curves as the trainers recorded them."""
    if record is None:
        return ""
    lines = ["## How it was trained", "", *REPEAT, ""]
    for stage in record["stages"]:
        lines += [f"### {stage['stage']}", "", f"    {stage['command']}", ""]
        facts = {k: v for k, v in stage.items() if k not in {"stage", "command", "loss", "note"}}
        lines.append(
            ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
        )
        if stage.get("note"):
            lines += ["", str(stage["note"])]
        if stage.get("loss"):
            steps, losses = zip(*stage["loss"], strict=True)
            lines += ["", _line(["step", *(str(step) for step in steps)])]
            lines += [_line(["---"] * (len(steps) + 1))]
            lines += [_line(["loss", *(f"{value:.4g}" for value in losses)])]
        lines.append("")
    return "\n".join(lines).rstrip()


def _pictures(row: Figures) -> str:
    counts = (row["accuracy"].get(head, {}).get("of", 0) for head in ("subject", "pair_subjects"))
    return " + ".join(str(count) for count in counts)


def _share(row: Figures, head: str) -> str:
    found = row["accuracy"].get(head)
    if found is None:
        return ""
    low, high = 100 * found["low"], 100 * found["high"]
    return f"{100 * found['share']:.1f} % ({low:.0f} to {high:.0f})"


def _number(row: Figures, name: str) -> str:
    return f"{row[name]:.2f}" if name in row else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> Figures | None:
    if not path.exists():
        return None
    record: Figures = json.loads(path.read_text())
    return record
