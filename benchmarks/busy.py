"""How busy a worker keeps the machine: its processes the CPU's cores, its kernels the GPU."""

import shutil
import statistics
import subprocess
import threading

import psutil

from inference import models

DRIVER_PROGRAM = "/usr/local/nvidia/bin/nvidia-smi"  # where containers have it, off the path


def cpu_seconds(process: psutil.Process) -> float:
    """What the worker and its child have used so far, in seconds of one core."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in family)


class GpuSampler:
    """Asks the driver five times a second how busy the first GPU is; None without one."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self.share: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> None:
        """Begin."""
        if models.has_gpu():
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End, and take the mean."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sample(self) -> None:
        program = shutil.which("nvidia-smi") or DRIVER_PROGRAM
        ask = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i0"]
        samples = []
        while not self._done.wait(0.2):
            answer = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
            if answer.strip().isdigit():
                samples.append(int(answer))
        self.share = statistics.mean(samples) / 100 if samples else None
