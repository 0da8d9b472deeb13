"""Where a studio lives on this machine: its folder, the lock on it, room on the disk, its port.

Each check raises `CannotRun` with one sentence that says what to do; nothing has been started by
then. Called by `webapp.host.supervise` and `webapp.cli`.
"""

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webapp.settings import Settings

# A new database takes 50 MB, its log grows to some hundred; the rest is room for pictures.
DISK_FREE_BYTES_MIN = 500_000_000
LISTENER_VARIABLE = "_ATELIER_LISTENER"  # tells the web process its open port's descriptor
LISTEN_BACKLOG = 256  # browsers that arrive while the web process starts wait here


class CannotRun(Exception):  # noqa: N818 - one sentence for the person who starts the studio
    """The studio cannot start or go on; the message says why and what to do."""


def prepare_folder(state: Path) -> None:
    """Make the state folder if needed; raises `CannotRun` if it cannot be written or is full."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / "logs").mkdir(exist_ok=True)
        probe = state / ".writable"
        probe.write_bytes(b"atelier")
        probe.unlink()
        free_bytes = shutil.disk_usage(state).free
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            free_bytes = 0
        else:
            raise CannotRun(
                f"The folder {state} cannot be written ({error.strerror}). Give it to this user, "
                "or set ATELIER_STATE to a folder that can."
            ) from error
    if free_bytes < DISK_FREE_BYTES_MIN:
        raise CannotRun(
            f"The disk of {state} has {free_bytes // 1_000_000} MB left and Atelier needs "
            f"{DISK_FREE_BYTES_MIN // 1_000_000} MB. Free some space, or set ATELIER_STATE to a "
            "folder on another disk."
        )


@contextmanager
def locked(state: Path, told: str) -> Iterator[None]:
    """Hold the folder for this process; raises `CannotRun` if another studio runs from it.

    The kernel lets go of the lock when the process ends, however it ends. `told` is what the
    next one is told about us.
    """
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.read(descriptor, 200).decode(errors="replace").strip()
            raise CannotRun(
                f"Atelier runs from {state} already ({who}). Use that one, stop it first, or set "
                "ATELIER_STATE to another folder."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, told.encode())
        yield
    finally:
        os.close(descriptor)


def bind(settings: Settings) -> socket.socket:
    """Open the studio's port before anything is started, so that nobody else can take it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotRun(_port_sentence(settings, error)) from error
    return listener


def _port_sentence(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} is in use by another program. Stop that one, or choose another "
            f"port: ATELIER_PORT={settings.port + 1} atelier up"
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {settings.port} is reserved for the system. Choose one above 1023 with "
            "ATELIER_PORT."
        )
    return (
        f"The address {settings.host} is not one of this machine's ({error.strerror}). Set "
        "ATELIER_HOST to one that is, or leave it out."
    )
