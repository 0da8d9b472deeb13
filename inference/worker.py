"""The worker as a process: its Celery application, the tools that serve, its first load.

Celery prefork children do the work, one for each GPU or group of GPUs; each loads engine and filter
itself, because torch does not survive a fork once it has run. What it does with a generation is
`inference.job`, with a LoRA's check `inference.probe`.
"""

import logging
import os
import uuid
from collections.abc import Callable, Sequence

from celery import Celery, signals
from celery.utils.log import current_process_index

from inference import gpus, job, probe
from inference.generations import RUNNING_MAX
from inference.line import outcome
from inference.process import Tools, WorkerProcess
from inference.queue import GENERATE, PROBE, create_celery, probe_queue_name, queue_name
from inference.settings import Settings
from licensing.adapters import PROBE_SECONDS_MAX

_log = logging.getLogger(__name__)


def run_worker(settings: Settings, make_tools: Callable[[Settings], Tools] | None = None) -> None:
    """Serve the queues of `settings.worker_classes` until the process is told to stop.

    Raises WrongSetting when a picture is to be drawn on more GPUs than there are.
    """
    shares = gpus.share_out(settings.gpus_per_picture)
    celery = create_worker(settings, make_tools or load_tools, shares)
    names = settings.worker_classes
    queues = ",".join([*map(queue_name, names), *map(probe_queue_name, names)])
    celery.worker_main(
        [
            "worker",
            "--pool=prefork",
            # One model in memory, and all cores or a share of the GPUs for one job.
            f"--concurrency={max(1, len(shares))}",
            f"--queues={queues}",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=INFO",
        ]
    )


def create_worker(
    settings: Settings, make_tools: Callable[[Settings], Tools], shares: Sequence[str] = ()
) -> Celery:
    """Return the Celery application with its two tasks; its children begin by themselves.

    Each child draws on the GPUs of one of `shares` (CUDA_VISIBLE_DEVICES), as many as there are.
    """
    celery = create_celery(settings.broker_url)
    process = WorkerProcess(settings, make_tools)

    # The hard limit kills a child that hangs; the sweep has failed its row by then.
    @celery.task(name=GENERATE, time_limit=RUNNING_MAX.total_seconds())  # type: ignore[untyped-decorator]
    def task(generation_id: str) -> None:
        taken = job.take(process, uuid.UUID(generation_id))
        if taken is not None:
            taken.is_nearly_drawn.wait()

    @celery.task(name=PROBE, time_limit=PROBE_SECONDS_MAX)  # type: ignore[untyped-decorator]
    def probe_task(adapter_id: str) -> None:
        check = probe.take(process, uuid.UUID(adapter_id))
        if check is not None:
            check.is_over.wait()

    def begin(**_: object) -> None:
        device = None
        if shares:
            place = current_process_index(base=0)  # a child that dies leaves its place to the next
            os.environ[gpus.VISIBLE] = shares[place]
            device = f"GPU {shares[place]}"
        process.begin(device)
        process.line.put(WarmUp(process))

    def end(**_: object) -> None:
        process.end()

    def stop_soon(**_: object) -> None:
        process.stop_soon()

    signals.worker_shutting_down.connect(stop_soon, weak=False)
    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
    return celery


def load_tools(settings: Settings) -> Tools:
    """Import and build the engine and the filter that serve; takes seconds, so in a child."""
    import torch  # noqa: PLC0415 - the parent forks, and must not have run torch

    from inference.engine.render import PipelineEngine  # noqa: PLC0415 - as above
    from inference.safety import filters, prompt  # noqa: PLC0415 - as above

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return Tools(
        engine=PipelineEngine(
            settings.weights_folder,
            settings.compiled_folder,
            settings.precision,
            settings.adapters_folder,
            together=settings.gpus_per_picture,
        ),
        prompt_filter=prompt.chosen(),
        image_filter=filters.chosen(),
    )


class WarmUp:
    """The first thing on the line: the weights that the first job will most likely ask for."""

    def __init__(self, process: WorkerProcess) -> None:
        """Load nothing yet."""
        self._process = process

    def draw(self) -> None:
        """Load the model; if that fails, the first job says why."""
        process = self._process
        model = process.first_model()
        if model is None:
            return
        failure = outcome(lambda: process.load(model, lambda said: process.say("loading", said)))
        if failure is not None:
            _log.error("%s could not be loaded beforehand", model.name, exc_info=failure)

    def finish(self) -> None:
        """Say that it is done."""
        self._process.rest()
