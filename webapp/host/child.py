"""One child process of the supervisor: started in a group of its own, logged, ended whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from webapp.host import lifeline
from webapp.host.premises import CannotRun

LOG_BYTES_MAX = 5_000_000  # at a start, a longer log moves to <name>.log.1
RESTARTS_MAX = 3  # so many deaths within the window are no accident
RESTART_WINDOW_SECONDS = 60.0
TAIL_LINES = 8


class Child:
    """A subcommand of `atelier` that has to run until it is stopped."""

    def __init__(
        self, name: str, *, environ: Mapping[str, str], logs: Path, inherited: Sequence[int]
    ) -> None:
        """Remember how to start `atelier <name>`; `inherited` are the descriptors it may use."""
        self.name = name
        self.log = logs / f"{name}.log"
        self._environ = dict(environ)
        self._inherited = tuple(inherited)
        self._deaths: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, its output appended to its log."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, fixed words
                [sys.executable, "-m", "webapp.cli", self.name],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self._inherited,
                # Ctrl-C in the terminal reaches the supervisor alone, which ends its children in
                # order; and the group lets it end a child's own children too.
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def revive(self) -> str:
        """Start it again after it died; return a sentence. Raises `CannotRun` if it keeps dying."""
        assert self._process is not None
        how = _how(self._process.returncode)
        self.kill()
        at = time.monotonic()
        self._deaths = [d for d in self._deaths if at - d < RESTART_WINDOW_SECONDS] + [at]
        if len(self._deaths) > RESTARTS_MAX:
            raise CannotRun(
                f"The {self.name} process {how}, {len(self._deaths)} times within a minute, so "
                f"everything was stopped. Its last words, from {self.log}:\n{self.tail()}"
            )
        self.start()
        return f"The {self.name} process {how} and was started again."

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic seconds), then end its whole group."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:])


def _how(code: int) -> str:
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended with code {code}"


def child_environ(
    environ: Mapping[str, str], changes: Mapping[str, str], lifeline_end: int
) -> dict[str, str]:
    """Return the environment of a child: the supervisor's, its servers, and the lifeline."""
    return {
        **environ,
        **changes,
        lifeline.VARIABLE: str(lifeline_end),
        "PYTHONUNBUFFERED": "1",
        # Nothing of ours asks the network; these keep libraries from doing so by themselves.
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
