"""`atelier up` as a person meets it: one address, one sentence for each trouble, nothing left."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest
from running import free_port

READY_SECONDS_MAX = 180.0  # a fault would keep it starting for ever
CHANGE_SECONDS_MAX = 90.0
POLL_SECONDS = 0.1


class Studio:
    """A running `atelier up`, what it has printed, and what runs on its behalf."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", "up"],
            env=environment(state, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, words: str, seconds: float = CHANGE_SECONDS_MAX) -> None:
        until(lambda: words in self.text or self.process.poll() is not None, seconds, self)
        assert words in self.text, self.text

    def child(self, name: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if words(child)[-1:] == [name])

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)
        self.process.wait(CHANGE_SECONDS_MAX)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def on_its_behalf(self) -> list[str]:
        """Return the processes that belong to this studio's folder, wherever they hang."""
        mine = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = " ".join(process.info["cmdline"] or [])
            folder = (process.info["environ"] or {}).get("ATELIER_STATE")
            if str(self.state) in words or folder == str(self.state):
                mine.append(words)
        return mine


def words(process: psutil.Process) -> list[str]:
    """Return its command line; nothing of one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def environment(state: Path, port: int, **more: str) -> dict[str, str]:
    own = {n: v for n, v in os.environ.items() if not n.startswith(("ATELIER", "OIDC"))}
    own = {n: v for n, v in own.items() if n not in {"DATABASE_URL", "BROKER_URL"}}
    return {**own, "ATELIER_STATE": str(state), "ATELIER_PORT": str(port), **more}


def until(holds: Callable[[], bool], seconds: float, studio: Studio | None = None) -> None:
    deadline = time.monotonic() + seconds
    waiting = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, studio.text if studio else "it did not happen"
        waiting.wait(POLL_SECONDS)


@contextmanager
def started(state: Path, port: int) -> Iterator[Studio]:
    studio = Studio(state, port)
    try:
        studio.wait_for("Atelier is ready", READY_SECONDS_MAX)
        yield studio
    finally:
        if studio.process.poll() is None:
            studio.stop()


def is_healthy(studio: Studio) -> bool:
    try:
        return httpx2.get(f"{studio.url}/healthz", trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def test_it_starts_heals_survives_its_supervisor_and_stops(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, port) as studio:
        assert re.findall(r"https?://\S+", studio.text) == [studio.url], "one address"
        assert is_healthy(studio)
        login = httpx2.get(f"{studio.url}/login", trust_env=False)
        assert "Continue with the demo provider" in login.text

        second = run_up(tmp_path, free_port())
        assert f"Atelier runs from {tmp_path} already" in second
        assert studio.url in second

        studio.child("web").kill()
        studio.child("worker").kill()
        studio.wait_for("The web process was killed (SIGKILL) and was started again.")
        studio.wait_for("The worker process was killed (SIGKILL) and was started again.")
        until(lambda: is_healthy(studio), CHANGE_SECONDS_MAX, studio)
        next(p for p in psutil.process_iter(["cmdline"]) if is_server(p, tmp_path, "valkey")).kill()
        studio.wait_for("Valkey had stopped and was started again.")
        next(
            p for p in psutil.process_iter(["cmdline"]) if is_server(p, tmp_path, "postgres -D")
        ).kill()
        studio.wait_for("PostgreSQL had stopped and was started again.")
        until(lambda: is_healthy(studio), CHANGE_SECONDS_MAX, studio)

        children = psutil.Process(studio.process.pid).children(recursive=True)
        ours = [child for child in children if "webapp.cli" in " ".join(words(child))]
        assert len(ours) >= 3
        studio.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(ours, CHANGE_SECONDS_MAX)
        assert alive == [], "a supervisor that was killed leaves nothing that lasts"

    with started(tmp_path, port) as again:  # takes over the database that was left running
        audit = subprocess.run(
            [sys.executable, "-m", "webapp.cli", "audit"],
            env=environment(tmp_path, port),
            capture_output=True,
            text=True,
            check=False,
        )
        assert audit.returncode == 0, audit.stderr
        assert is_healthy(again), "a command beside it leaves its database running"
        assert_ends(again, signal.SIGINT)


@pytest.mark.nightly
def test_it_stops_as_it_is_told_and_finds_its_data_again(tmp_path: Path) -> None:
    port = free_port()
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(tmp_path, port) as studio:
            assert is_healthy(studio)
            assert_ends(studio, number)


def assert_ends(studio: Studio, number: signal.Signals) -> None:
    """Stop it in good order; nothing of it runs on."""
    studio.stop(number)
    assert studio.process.returncode == 0
    assert "Your data are kept" in studio.text
    assert studio.on_its_behalf() == []


def is_server(process: psutil.Process, state: Path, name: str) -> bool:
    words = " ".join(process.info["cmdline"] or [])
    return name in words and str(state) in words


def run_up(state: Path, port: int, **more: str) -> str:
    """Run an `atelier up` that must refuse; return the one sentence that it says."""
    refused = subprocess.run(
        [sys.executable, "-m", "webapp.cli", "up"],
        env=environment(state, port, **more),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS_MAX,
        check=False,
    )
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert refused.stderr.startswith("atelier: ")
    return refused.stderr


def test_a_busy_port_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = run_up(tmp_path, port)
    assert f"Port {port} is in use by another program" in said
    assert f"ATELIER_PORT={port + 1}" in said
    assert not (tmp_path / "postgres").exists(), "nothing was started"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = run_up(tmp_path / "file" / "state", free_port())
    assert "cannot be written" in said
    assert "set ATELIER_STATE" in said


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    # A small file system of its own, which only this one command sees.
    mount = f"mount -t tmpfs -o size=20m none {tmp_path}"
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*prefix, mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    full = subprocess.run(
        [*prefix, f"{mount} && exec {sys.executable} -m webapp.cli up"],
        env=environment(tmp_path / "state", free_port()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert re.search(r"has \d+ MB left and Atelier needs 500 MB", full.stderr), full.stderr


def test_wrong_settings_are_sentences(tmp_path: Path) -> None:
    for more, words in (
        ({"ATELIER_PORT": "many"}, "ATELIER_PORT must be a whole number"),
        ({"ATELIER_HOST": "0.0.0.0"}, "set ATELIER_URL"),
        ({"ATELIER_HOST": "192.0.2.1"}, "set OIDC_ISSUER"),
        ({"ATELIER_URL": "http://127.0.0.1/studio"}, "without a path"),
        ({"OIDC_ISSUER": "https://id.example.org"}, "OIDC_CLIENT_ID is not"),
        ({"OIDC_ISSUER": "http://id.example.org"}, "must begin with https://"),
        ({"DATABASE_URL": "sqlite:///x"}, "must begin with postgresql://"),
    ):
        assert words in run_up(tmp_path, free_port(), **more)


def test_a_process_alone_says_what_it_needs(tmp_path: Path) -> None:
    for name in ("web", "worker", "beat"):
        alone = subprocess.run(
            [sys.executable, "-m", "webapp.cli", name],
            env=environment(tmp_path, free_port()),
            capture_output=True,
            text=True,
            check=False,
        )
        assert alone.returncode == 1
        assert "`atelier up` brings" in alone.stderr
        assert "Traceback" not in alone.stderr
