"""Compiled kernels: whether this machine can make them, and where they outlive a restart.

torch makes them at the first use of a block, with a C compiler for the code that starts them. A
machine without one runs the blocks as they are: the same function, more and smaller kernels.
"""

import logging
import os
import shutil
from pathlib import Path

# What torch looks for, in its order; CC names another.
COMPILERS = ("gcc", "clang", "cc")

_log = logging.getLogger(__name__)


def has_compiler() -> bool:
    """Whether kernels can be compiled here; says so in the log if not."""
    named = os.environ.get("CC")
    found = any(shutil.which(name) for name in ([named] if named else COMPILERS))
    if not found:
        _log.warning("No C compiler is here, so blocks run uncompiled and slower: install gcc.")
    return found


def keep_compiled(folder: Path | None) -> None:
    """Keep them in `folder`, unless the operator named another; before the first is compiled."""
    if folder is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))
