"""The processes that draw one picture together: this one is rank 0, the others are programs of it.

`inference.engine.rank` is that program. Rank 0 tells all others, in lines of JSON through a pipe
each, what comes next; the tensors for it follow through torch's process group. A rank keeps nothing
of a request but its LoRAs, so there is nothing that could differ between two of them.

A rank that is lost while a picture is drawn leaves the others waiting for it for ever, and nothing
can be raised in a card that waits. So this process ends itself then: a worker's parent makes a new
one, and the sweep gives the job to it. It also does when it cannot get out of a process group whose
other members are gone. A rank whose pipe closes ends as well.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from inference.engine.device import Device
from inference.engine.profile import Profile
from inference.engine.transformer.model import Prepared, Transformer
from inference.engine.transformer.parallel import ParallelTransformer, as_bytes
from inference.models import ModelUnavailable

# All of them are on this machine: nothing listens on a network.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}

# An error may be that a rank has ended: within this time its watch ends this process as well.
NOTICED_SECONDS = 1.0

# To leave a process group, which may wait for something that never comes.
LEAVE_SECONDS = 20.0

_log = logging.getLogger(__name__)


class Ranks:
    """Ranks 1 to `size` - 1 of a model in `folder`; for the thread that draws."""

    def __init__(self, folder: Path, device: Device, profile: Profile, size: int) -> None:
        """Start none yet."""
        self.size = size
        self._device = device
        self._order = {
            "folder": str(folder),
            "device": [device.kind, str(device.dtype).removeprefix("torch."), device.name],
            "profile": asdict(profile),
            "size": size,
        }
        self._meeting: tempfile.TemporaryDirectory[str] | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._is_watched = threading.Event()

    def start(self) -> None:
        """Start them; each loads its weights while this process loads its own."""
        self._meeting = tempfile.TemporaryDirectory(prefix="atelier-ranks-")
        for rank in range(1, self.size):
            process = subprocess.Popen(
                [sys.executable, "-m", "inference.engine.rank"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | LOOPBACK,
            )
            self._processes.append(process)
            _say(process, self._order | {"rank": rank, "meeting": self._meeting.name})

    def join(self) -> None:
        """Wait until each has its weights, and meet them. Raises ModelUnavailable if one ended."""
        with ExitStack() as failing:
            failing.callback(self.part)
            for rank, process in enumerate(self._processes, 1):
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise ModelUnavailable(
                        f"Process {rank + 1} of the {self.size} that draw a picture together could "
                        "not load the model; the worker's log says why."
                    )
            self._watch()
            assert self._meeting is not None, "start comes first"
            os.environ.update(LOOPBACK)
            meet(self._device, Path(self._meeting.name), 0, self.size)
            failing.pop_all()

    def part(self) -> None:
        """End them and leave the process group."""
        self.stop()
        late = threading.Timer(LEAVE_SECONDS, _end, ["The process group cannot be left."])
        late.daemon = True
        late.start()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        late.cancel()  # not after an error: it would go on being one for every picture
        if self._meeting is not None:
            self._meeting.cleanup()
            self._meeting = None

    def stop(self) -> None:
        """End them, when what was asked of this process's device is done."""
        if self._device.kind == "cuda":
            torch.cuda.synchronize()
        self._is_watched.clear()
        for process in self._processes:
            process.kill()
            process.communicate()  # and close its pipes
        self._processes.clear()

    def evaluate(self, inputs: Sequence[torch.Tensor]) -> None:
        """Have them make one evaluation with these `inputs` of `Transformer.evaluate`."""
        inputs = [tensor.contiguous() for tensor in inputs]
        kinds = [[list(one.shape), str(one.dtype).removeprefix("torch.")] for one in inputs]
        self._tell({"do": "evaluate", "inputs": kinds})
        spread(inputs)

    @contextmanager
    def attached(self, rank: int, halves: Sequence[torch.Tensor]) -> Iterator[None]:
        """Have them draw with LoRAs of `rank`, whose `halves` are all branches' of this process."""
        with self.stopped_by_errors():
            self._tell({"do": "attach", "rank": rank})
            spread(halves)
        try:
            yield
        finally:
            if self._processes:
                self._tell({"do": "detach"})

    @contextmanager
    def stopped_by_errors(self) -> Iterator[None]:
        """End them after an error in the block, as they then wait for what does not come.

        They are made anew for the next call, and the group is left then: whoever is told of the
        error need not wait for that.
        """
        with ExitStack() as failing:
            failing.callback(self.stop)
            failing.callback(time.sleep, NOTICED_SECONDS)
            yield
            failing.pop_all()

    def _watch(self) -> None:
        """From now on this process ends with each of them."""
        self._is_watched = threading.Event()
        self._is_watched.set()
        for process in self._processes:
            threading.Thread(
                target=_end_with, args=(process, self._is_watched), name="rank", daemon=True
            ).start()

    def _tell(self, what: dict[str, Any]) -> None:
        if not self._processes:  # an error ended them
            self.part()
            self.start()
            self.join()
        for process in self._processes:
            _say(process, what)


class LeadingTransformer(ParallelTransformer):
    """Rank 0's: it has the others evaluate what it evaluates itself."""

    def __init__(self, whole: Transformer, ranks: Ranks) -> None:
        """Take over `whole`; the others have the same."""
        super().__init__(whole)
        self._ranks = ranks

    def evaluate(
        self,
        latents: torch.Tensor,
        prepared: Prepared,
        shared: torch.Tensor,
        final: torch.Tensor,
    ) -> torch.Tensor:
        """As in one process, after an error also."""
        with self._ranks.stopped_by_errors():
            inputs = latents, prepared.text, prepared.cos, prepared.sin, shared, final
            self._ranks.evaluate(inputs)
            return super().evaluate(latents, prepared, shared, final)


def meet(device: Device, meeting: Path, rank: int, size: int) -> None:
    """Make torch's process group; returns when all `size` processes are there."""
    store = distributed.FileStore(str(meeting / "store"), size)  # type: ignore[attr-defined] # torch does not list it
    own = None
    if device.kind == "cuda" and size <= torch.cuda.device_count():
        own = torch.device("cuda", torch.cuda.current_device())
    backend = "gloo" if own is None else "nccl"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, device_id=own)


def spread(tensors: Sequence[torch.Tensor]) -> None:
    """Give rank 0's to all: every rank calls this with tensors of the same shapes."""
    for tensor in tensors:
        distributed.broadcast(as_bytes(tensor), src=0)


def _say(process: "subprocess.Popen[str]", what: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        _log.error("A process that draws with this one has ended.")  # its watch ends this one


def _end_with(process: "subprocess.Popen[str]", is_watched: threading.Event) -> None:
    """End this process when `process` has ended, unless that was asked for."""
    code = process.wait()
    if is_watched.is_set():
        _end(f"A process that draws with this one ended ({code}).")


def _end(why: str) -> None:
    _log.error("%s So this process ends.", why)
    os.kill(os.getpid(), signal.SIGKILL)
