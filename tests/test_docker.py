"""The images and the compose file, as far as they can be judged without an engine.

Every path, extra, command and variable that they name has to exist, every image is pinned, nobody
is root, and a container that does no work is noticed.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from webapp import cli

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
PINNED = re.compile(r":\d+\.\d+(\.\d+)?(-[\w.-]+)?$")  # never `latest`, never a major alone
VARIABLE = re.compile(r"\$\{(\w+)")
# Of other people's images; docs/configuration.md lists ours.
FOREIGN = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "KREA_WEIGHTS"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return read


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.name)
def steps(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """A Dockerfile's instructions as (name, arguments), comments and line breaks taken out."""
    text = re.sub(r"\\\n", " ", request.param.read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_what_an_image_copies_exists_and_reaches_the_builder(steps: list[tuple[str, str]]) -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()}
    copied = [words.split() for name, words in steps if name == "COPY" and "--from" not in words]
    assert copied
    for sources in copied:
        for source in sources[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let_through, f"{source} is kept from the builder by .dockerignore"


def test_an_image_installs_extras_that_exist(steps: list[tuple[str, str]]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = re.findall(r"\.\[([\w,]+)\]", " ".join(words for _, words in steps))
    assert len(installed) == 1
    assert set(installed[0].split(",")) <= set(extras["optional-dependencies"])


def test_an_image_is_pinned_watched_and_nobody_s_root(steps: list[tuple[str, str]]) -> None:
    bases = [words.split()[0] for name, words in steps if name == "FROM"]
    assert all(PINNED.search(base) for base in bases), bases
    last_stage = steps[max(at for at, (name, _) in enumerate(steps) if name == "FROM") :]
    named = dict(last_stage)
    assert named["USER"] == "atelier"
    assert "--uid 10001" in " ".join(words for _, words in last_stage)
    assert "healthy.py" in named["HEALTHCHECK"]
    assert yaml.safe_load(named["CMD"])[0] == "atelier"
    assert yaml.safe_load(named["CMD"])[1] in cli.COMMANDS


def test_the_web_image_has_no_torch() -> None:
    text = (FOLDER / "web.Dockerfile").read_text()
    assert ".[web]" in text
    assert "pip install" in text
    assert "torch==" not in text


def test_the_torch_of_the_worker_is_the_one_that_the_tests_ran_on() -> None:
    (pinned,) = re.findall(r"torch==[\d.]+", (ROOT / "Makefile").read_text())
    assert f"ARG TORCH={pinned}\n" in (FOLDER / "worker.Dockerfile").read_text()


def test_the_services_fit_together(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "valkey", "migrate", "web", "beat", "worker-pocket"} <= set(services)
    for name, service in services.items():
        assert PINNED.search(service["image"]), name
        assert set(service.get("depends_on", ())) <= set(services), name
        if "build" in service:
            assert (FOLDER / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        command = service.get("command", ["atelier", "web"])
        assert command[0] != "atelier" or command[1] in cli.COMMANDS, name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source.startswith("${") or source in compose["volumes"], (name, source)
        for waited, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[waited]["healthcheck"], waited


def test_only_the_web_process_is_reached_and_only_from_this_machine(
    compose: dict[str, Any],
) -> None:
    ports = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert ports == {"web": ["127.0.0.1:7860:7860"]}


def test_every_variable_is_documented_and_in_the_example(compose: dict[str, Any]) -> None:
    documented = (ROOT / "docs" / "configuration.md").read_text()
    example = (FOLDER / "env.example").read_text()
    text = (FOLDER / "compose.yaml").read_text()
    for name in set(VARIABLE.findall(text)):
        assert f"{name}=" in example, name
    for service in compose["services"].values():
        for name in service.get("environment", {}):
            assert name in FOREIGN or f"`{name}`" in documented, name


@pytest.mark.parametrize("what", ["web", "worker"])
def test_a_container_that_does_no_work_is_not_healthy(what: str) -> None:
    nobody = {"ATELIER_PORT": "9", "DATABASE_URL": "postgresql://127.0.0.1:9/none", "PATH": "/bin"}
    asked = subprocess.run(
        [sys.executable, FOLDER / "healthy.py", what],
        env=nobody,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert asked.returncode == 1
    assert "Traceback" not in asked.stderr
    assert asked.stderr.strip()
