"""The GPUs of this machine, shared out among a worker's processes. Loads no torch.

A process is shown its own GPUs through CUDA_VISIBLE_DEVICES, which CUDA reads when it is first
used; so each says "the GPU" and means another.
"""

import os
import subprocess
import sys

from inference.settings import WrongSetting

VISIBLE = "CUDA_VISIBLE_DEVICES"
# In a process of its own: a driver that was asked once does not survive the fork of a worker.
_COUNT = """
import ctypes
count, driver = ctypes.c_int(0), ctypes.CDLL("libcuda.so.1")
failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
print(0 if failed else count.value)
"""


def found() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that CUDA finds here; none without a driver."""
    asked = subprocess.run(  # noqa: S603 - a constant
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False
    )
    count = int(asked.stdout) if asked.returncode == 0 else 0
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def share_out(each: int) -> list[str]:
    """CUDA_VISIBLE_DEVICES for every process that gets `each` GPUs; what is left over rests.

    Empty on a machine without a GPU. Raises WrongSetting when there are fewer than `each`.
    """
    names = found()
    if each > max(1, len(names)):
        has = {0: "no GPU", 1: "one GPU"}.get(len(names), f"{len(names)} GPUs")
        raise WrongSetting(f"ATELIER_GPUS_PER_PICTURE is {each}, and this machine has {has}.")
    ends = range(each, len(names) + 1, each)
    return [",".join(names[end - each : end]) for end in ends]
