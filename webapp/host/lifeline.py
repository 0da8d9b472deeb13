"""A child's tie to its supervisor: when the supervisor is gone, however it went, the child ends.

The supervisor holds the writing end of a pipe that every child can only read. The kernel closes
it when the supervisor dies, kill -9 included, and the read returns.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping

VARIABLE = "_ATELIER_LIFELINE"  # not a setting: the number of the pipe's reading end
GRACE_SECONDS = 8.0  # then the whole process group goes, a hanging job included


def hold(environ: Mapping[str, str]) -> None:
    """End this process when its supervisor is gone; does nothing for a process without one."""
    number = environ.get(VARIABLE)
    if number is None:
        return
    threading.Thread(target=_wait, args=(int(number),), name="lifeline", daemon=True).start()


def _wait(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # a child leads its own group: nobody else is in it
