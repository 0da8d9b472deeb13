"""The house style, as far as a machine can hold it; the rest is reading."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("webapp", "inference", "licensing")

FILE_LINES_MAX = 400  # past 300 a file is asked whether it holds two things; past 400 it does
FUNCTION_LINES_MAX = 70
POSITIONAL_MAX = 5  # more than five: one frozen object, or keywords
TRACKED_BYTES_MAX = 16 * 2**20  # a clone stays small; weights are stored in shards
FORBIDDEN_NAMES = {"utils", "common", "helpers", "helper", "base", "core", "manager", "shared"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*suffixes: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [ROOT / line for line in listing.splitlines()]
    return [path for path in paths if path.exists() and path.suffix in suffixes]


def code() -> list[Path]:
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in PACKAGES]


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module's first line says what it is for"
    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_take_few_positional_arguments(path: Path) -> None:
    for function in functions(path):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= FUNCTION_LINES_MAX, f"{function.name} has {lines} lines"
        positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        if "triton.jit" in " ".join(
            map(ast.unparse, function.decorator_list)
        ):  # a kernel has pointers alone
            continue
        count = len([name for name in positional if name not in {"self", "cls"}])
        assert count <= POSITIONAL_MAX, f"{function.name} takes {count} positional arguments"


def test_nothing_shares_state_by_global() -> None:
    for path in code():
        tree = ast.parse(path.read_text())
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Global)], path


def test_only_the_transaction_commits() -> None:
    for path in code():
        if path == ROOT / "licensing" / "db.py":
            continue
        assert ".commit(" not in path.read_text(), f"{path}: Database.transaction() commits"


def test_exceptions_are_swallowed_nowhere_but_at_the_worker_edge() -> None:
    broad = [
        str(path.relative_to(ROOT))
        for path in code()
        if re.search(r"except (Exception|BaseException)\b|except:", path.read_text())
    ]
    # A job may fail in any way, and so may a kernel that is tried.
    assert set(broad) <= {"inference/line.py", "inference/engine/trial.py"}


def test_money_is_never_a_float() -> None:
    for path in (ROOT / "licensing").glob("*.py"):
        for line in path.read_text().splitlines():
            assert not ("micros" in line and re.search(r"\bfloat\b|\bDecimal\b", line)), line


def test_tracked_files_stay_small() -> None:
    for path in tracked(".safetensors", ".png", ".webp", ".json", ".py", ".md", ".txt", ".onnx"):
        assert path.stat().st_size <= TRACKED_BYTES_MAX, path


def tree() -> str:
    """The packages as the README shows them: each module with its own first line."""
    lines: list[str] = []
    for folder in sorted({path.parent.relative_to(ROOT) for path in code()}):
        lines.append(f"{folder}/")
        for path in sorted((ROOT / folder).glob("*.py")):
            first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
            name = "" if path.name == "__init__.py" else path.name
            lines.append(f"  {name:<20} {first}")
    return "\n".join(lines)


def test_the_readme_shows_every_module_with_its_first_line() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [line for line in tree().splitlines() if line not in readme]
    assert missing == [], "python tests/test_tidy.py prints the tree anew"


def test_every_setting_is_documented() -> None:
    pattern = re.compile(r"\"((?:ATELIER|OIDC|STRIPE)_[A-Z0-9_]+|DATABASE_URL|BROKER_URL)\"")
    named = {name for path in code() for name in pattern.findall(path.read_text())}
    documented = (ROOT / "docs" / "configuration.md").read_text()
    assert sorted(name for name in named if name not in documented) == []


if __name__ == "__main__":
    print(tree())  # noqa: T201 - for the README
