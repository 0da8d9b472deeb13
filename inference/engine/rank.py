"""One of the processes that draw a picture with rank 0: `python -m inference.engine.rank`.

Reads lines of JSON from its standard input, see `inference.engine.ranks`: first what it is, then
what to do. Says "ready" when it has its weights, and nothing else. Ends when its input does.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from inference.engine.branches import Branches
from inference.engine.device import Device
from inference.engine.load import load_transformer
from inference.engine.profile import Profile
from inference.engine.ranks import meet, spread
from inference.engine.transformer.graphs import Stepper
from inference.engine.transformer.model import Prepared
from inference.engine.transformer.parallel import ParallelTransformer


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not answer
    lines = _lines()
    order = next(lines)
    rank, size = order["rank"], order["size"]
    kind, dtype, name = order["device"]
    device = Device(kind, getattr(torch, dtype), name)
    if kind == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // size))
    whole = load_transformer(Path(order["folder"]), device, Profile(**order["profile"]))
    transformer = ParallelTransformer(whole)
    answers.write("ready\n")
    answers.flush()
    meet(device, Path(order["meeting"]), rank, size)
    serve(transformer, lines)


@torch.no_grad()
def serve(transformer: ParallelTransformer, lines: Iterator[dict[str, Any]]) -> None:
    """Do what rank 0 does, line by line."""
    branches = Branches(Stepper(transformer, records=False))
    with ExitStack() as attached:
        for line in lines:
            match line["do"]:
                case "evaluate":
                    inputs = [
                        torch.empty(shape, dtype=getattr(torch, dtype), device=transformer.device)
                        for shape, dtype in line["inputs"]
                    ]
                    spread(inputs)
                    latents, text, cos, sin, shared, final = inputs
                    transformer.evaluate(latents, Prepared(text, cos, sin), shared, final)
                case "attach":
                    made = attached.enter_context(branches.attached(line["rank"]))
                    spread(made.tensors())
                case "detach":
                    attached.close()


def _lines() -> Iterator[dict[str, Any]]:
    """What rank 0 says. The process ends at once when rank 0 has, whatever it waits for."""
    said: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            said.put(line)
        os._exit(0)

    threading.Thread(target=read, name="input", daemon=True).start()
    while True:
        yield json.loads(said.get())


if __name__ == "__main__":
    main()
