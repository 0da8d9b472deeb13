"""A real worker or beat process with the FAKE engine: `python fake_worker.py worker|beat`."""

import sys

from fake_tools import fake_tools

from inference.beat import run_beat
from inference.settings import from_environment
from inference.worker import run_worker

if __name__ == "__main__":
    if sys.argv[1] == "beat":
        run_beat(from_environment())
    else:
        run_worker(from_environment(), fake_tools)
