"""Hold FOCUS files against the public validators, in an environment of their own.

The official validator (1.2) pins an old numpy and wants Python 3.12, for one f-string; where only
3.11 is there, that line is rewritten at installation. It knows no later version, so 1.4 is held
against another project's model of it. The nightly test calls `validate`; by hand:

    python tests/licensing/bills/focus_check.py FOLDER FILE...

FOLDER keeps the environment (about 700 MB) for the next time. Each file's version is in its name.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

VALIDATOR = "focus-validator==2.2.1"
# What it asks for, with a pyarrow that still knows numpy 1.
REQUIREMENTS = (
    "ddt",
    "duckdb>=1.4.1,<2",
    "focus-data-toolkit==0.14.1",
    "graphviz",
    "jsonschema>=4.25,<5",
    "multimethod>=2.0,<2.1",
    "numpy>=1.26,<2",
    "pandas>=2,<3",
    "pandasql>=0.7.3",
    "pandera>=0.26.1,<0.27",
    "polars>=1.34,<2",
    "pyarrow<23",
    "pydantic>=2.12,<3",
    "pytz>=2025.2",
    "pyyaml>=6",
    "requests",
    "sqlglot>=27.28.1,<28",
    "tabulate",
)
QUOTES = """f"'{k.replace('\\"', '\\"\\"')}'" for k in"""  # what Python 3.11 cannot read
# What this product is; the rules for other kinds of providers do not apply.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)
# InvoiceId is empty (004) or filled (005), depending on the charge; 003 asks for one of the two.
# The validator's model leaves that condition out, so no file with rows can pass both. Every charge
# of ours is on an invoice or a statement: the file has to pass 003 and 005 in every row.
OTHER_BRANCH = {"InvoiceId-C-004-C"}
OUR_BRANCH = {"InvoiceId-C-003-C", "InvoiceId-C-005-C"}

PASSES_MIN = 240  # of 578 rules; the rest is optional, does not apply, or cannot be computed

LINT = """
import csv, sys
from focus_data_toolkit.model.capabilities import KNOWN_CONDITIONS
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
with open(sys.argv[1], newline="") as file:
    rows = list(csv.DictReader(file))
report = lint_focus_1_4_structure(
    "Cost and Usage", rows, supported_conditions=sorted(KNOWN_CONDITIONS)
)
print("\\n".join(sorted(set(report.messages()))[:50]))
print("LINES", len(rows))
sys.exit(not report.ok)
"""


def validate(folder: Path, file: Path) -> list[str]:
    """Return what the validator of the file's version objects to; nothing if it passes."""
    python = environment(folder)
    if "1.4" in file.name:
        done = _run([str(python), "-c", LINT, str(file.resolve())], cwd=folder)
        return [] if done.returncode == 0 else [*done.stdout.splitlines(), done.stderr]
    # It looks for its list of currencies beside itself, from the folder that it was started in.
    packages = next(folder.glob("venv/lib/python3*/site-packages"))
    done = _run(
        [
            str(python.parent / "focus-validator"),
            f"--data-file={file.resolve()}",
            "--validate-version=1.2.0.1",
            "--block-download",
            "--focus-dataset=CostAndUsage",
            f"--applicability-criteria={','.join(CRITERIA)}",
            "--show-violations",
        ],
        cwd=packages,
    )
    failed = set(re.findall(r"^❌ (\S+): FAIL", done.stdout, re.MULTILINE))
    passed = set(re.findall(r"^✅ (\S+): PASS", done.stdout, re.MULTILINE))
    if passed >= OUR_BRANCH:
        failed -= OTHER_BRANCH
    if done.returncode or len(passed) < PASSES_MIN:
        return [*failed, done.stdout[-2000:], done.stderr[-2000:]]
    return sorted(failed)


def environment(folder: Path) -> Path:
    """Install the validators into `folder`, once; returns its Python."""
    python = folder / "venv" / "bin" / "python"
    if (folder / "ready").exists():
        return python
    newest = next(filter(_runs, ("python3.13", "python3.12")), sys.executable)
    folder.mkdir(parents=True, exist_ok=True)
    _run([newest, "-m", "venv", "--clear", str(folder / "venv")], is_required=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    _run([*pip, *REQUIREMENTS], is_required=True)
    _run([*pip, "--no-deps", "--ignore-requires-python", VALIDATOR], is_required=True)
    for source in folder.glob("venv/lib/python3*/site-packages/focus_validator/**/*.py"):
        words = source.read_text(encoding="utf-8")
        if QUOTES in words:
            source.write_text(words.replace(QUOTES, "repr(k) for k in"), encoding="utf-8")
    (folder / "ready").touch()
    return python


def _runs(name: str) -> bool:
    # A version manager may have a name in the path for a Python that is not installed.
    return shutil.which(name) is not None and _run([name, "-c", ""]).returncode == 0


def _run(
    command: list[str], *, cwd: Path | None = None, is_required: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, check=is_required, capture_output=True, text=True)


if __name__ == "__main__":
    for named in sys.argv[2:]:
        found = validate(Path(sys.argv[1]).resolve(), Path(named))
        sys.stdout.write(f"{named} {found or 'passes'}\n")
