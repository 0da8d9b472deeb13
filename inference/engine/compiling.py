"""Where compiled kernels outlive a restart: Triton makes them when they first run."""

import os
from pathlib import Path


def keep_compiled(folder: Path | None) -> None:
    """Keep them in `folder`, unless the operator named another; before the first is compiled."""
    if folder is not None:
        os.environ.setdefault("TRITON_CACHE_DIR", str(folder.resolve()))
