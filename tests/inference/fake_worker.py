"""A real worker or beat process with the FAKE engine: `python fake_worker.py worker|beat`.

FAKE_GPUS is how many GPUs the machine is to have.
"""

import os
import sys

from fake_tools import fake_tools

from inference import gpus
from inference.beat import run_beat
from inference.settings import from_environment
from inference.worker import run_worker

if __name__ == "__main__":
    if sys.argv[1] == "beat":
        run_beat(from_environment())
    else:
        if "FAKE_GPUS" in os.environ:
            gpus.found = lambda: [str(number) for number in range(int(os.environ["FAKE_GPUS"]))]
        run_worker(from_environment(), fake_tools)
