"""`atelier up`: the whole studio on one machine, as one thing that starts and stops.

Starts PostgreSQL and Valkey (unless DATABASE_URL or BROKER_URL name others), brings the database
to the newest migration, seeds the demonstration where no provider is configured, starts web, worker
and beat, waits until they answer, prints one address, and then watches: what dies is started again
with one sentence. Ctrl-C, SIGTERM or a closed terminal end everything, servers last; the data stay.
"""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import FrameType

from webapp.host.child import Child, child_environ
from webapp.host.premises import LISTENER_VARIABLE, CannotRun, bind, locked, prepare_folder
from webapp.host.servers import Server, ServerFailed, start_postgres, start_valkey
from webapp.settings import Settings

WATCH_SECONDS = 0.2
HEALTHY_SECONDS_MAX = 120.0  # a cold disk and one slow core
WORKER_SECONDS_MAX = 20.0  # then the address is printed anyway: jobs wait for their worker
STOP_SECONDS_MAX = 8.0  # for children to end by themselves; a running job is repaired at the start
SERVER_RETRIES_MAX = 20  # a killed PostgreSQL needs moments to let go of its memory
SERVER_RETRY_SECONDS = 0.5


@dataclass
class Embedded:
    """A server of ours, and how to start it again."""

    name: str
    start: Callable[[], Server]
    server: Server

    def stop(self) -> None:
        """Stop the one that runs now, which may be its second."""
        self.server.stop()


def up(settings: Settings, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Run the studio until it is told to stop; raises `CannotRun` with one sentence."""
    stop = _stop_on_signals()
    prepare_folder(settings.state)
    with ExitStack() as stack:
        told = f"process {os.getpid()}, {settings.url}"
        stack.enter_context(locked(settings.state, told))
        listener = stack.enter_context(bind(settings))
        say("Starting Atelier…")
        servers = _start_servers(settings, stack)
        urls = {server.name: server.server.url for server in servers}
        database_url = settings.database_url or urls["PostgreSQL"]
        lifeline_end, our_end = os.pipe()
        stack.callback(os.close, our_end)
        changes = {
            "DATABASE_URL": database_url,
            "BROKER_URL": settings.broker_url or urls["Valkey"],
            "ATELIER_STATE": str(settings.state),
            "ATELIER_WEIGHTS": str(settings.weights),
            LISTENER_VARIABLE: str(listener.fileno()),
        }
        for_children = child_environ(environ, changes, lifeline_end)
        inherited = (lifeline_end, listener.fileno())
        web, worker, beat = (
            Child(name, environ=for_children, logs=settings.state / "logs", inherited=inherited)
            for name in ("web", "worker", "beat")
        )
        stack.callback(_stop_children, (web, worker, beat))
        web.start()  # the slowest to start; it answers 503 until the migrations are through
        _prepare_database(settings, database_url)
        worker.start()
        beat.start()
        _wait_until_healthy(settings, database_url, (web, worker, beat), stop)
        if not stop.is_set():
            say(f"\n  Atelier is ready: {settings.url}\n")
            say(f"  Ctrl-C stops it. Data and logs lie in {settings.state}.")
        _watch((web, worker, beat), servers, stop, say)
        say("\nStopping…")
    say("Stopped. Your data are kept.")


def _start_servers(settings: Settings, stack: ExitStack) -> list[Embedded]:
    wanted: list[tuple[str, Callable[[], Server]]] = []
    if settings.database_url is None:
        wanted.append(("PostgreSQL", lambda: start_postgres(settings.state / "postgres")))
    if settings.broker_url is None:
        wanted.append(("Valkey", lambda: start_valkey(settings.state / "valkey")))
    started = []
    for name, start in wanted:
        try:
            embedded = Embedded(name, start, start())
        except ServerFailed as error:
            raise CannotRun(str(error)) from error
        stack.callback(embedded.stop)
        started.append(embedded)
    return started


def _prepare_database(settings: Settings, database_url: str) -> None:
    # Imported here: the web process, which takes longest, starts meanwhile.
    from licensing.db import connect  # noqa: PLC0415
    from migrations.run import upgrade  # noqa: PLC0415
    from webapp import demo  # noqa: PLC0415

    upgrade(database_url)
    if settings.has_demo_provider:
        database = connect(database_url)
        demo.seed(database)
        database.dispose()


def _wait_until_healthy(
    settings: Settings, database_url: str, children: tuple[Child, ...], stop: threading.Event
) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS_MAX
    answered = "nothing yet"
    while not stop.is_set():
        for child in children:
            if child.has_ended():
                raise CannotRun(
                    f"The {child.name} process did not start. Its last words, from {child.log}:\n"
                    f"{child.tail()}"
                )
        if time.monotonic() > deadline:
            raise CannotRun(
                f"The web process did not become ready within {HEALTHY_SECONDS_MAX:.0f} s "
                f"({answered}). Its log is {children[0].log}."
            )
        answered = _ask_health(settings)
        if answered == "ok":
            break
        stop.wait(WATCH_SECONDS)
    _wait_for_worker(database_url, stop)


def _wait_for_worker(database_url: str, stop: threading.Event) -> None:
    """Wait until a worker has reported, but not for long: jobs wait for their worker anyway."""
    from inference import presence  # noqa: PLC0415 - as above
    from licensing.db import connect  # noqa: PLC0415

    database = connect(database_url)
    deadline = time.monotonic() + WORKER_SECONDS_MAX
    while not stop.is_set() and time.monotonic() < deadline:
        with database.read() as session:
            if presence.alive(session):
                break
        stop.wait(WATCH_SECONDS)
    database.dispose()


def _ask_health(settings: Settings) -> str:
    """Ask the web process over its own port, whatever proxies the environment names."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared
    connection = http.client.HTTPConnection(host, settings.port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return "no answer"
    finally:
        connection.close()
    return str(answer["state"]) if answer["state"] == "ok" else str(answer["detail"])


def _watch(
    children: tuple[Child, ...],
    servers: list[Embedded],
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    while not stop.wait(WATCH_SECONDS):
        for embedded in servers:
            if _is_gone(embedded.server.pid):
                _restart(embedded)
                say(f"{embedded.name} had stopped and was started again.")
        for child in children:
            if child.has_ended():
                say(child.revive())


def _restart(embedded: Embedded) -> None:
    embedded.server.stop()  # clears what the dead one left
    for attempt in range(1, SERVER_RETRIES_MAX + 1):
        try:
            embedded.server = embedded.start()
        except ServerFailed as error:
            if attempt == SERVER_RETRIES_MAX:
                raise CannotRun(
                    f"{embedded.name} died and does not start again, so everything was stopped. "
                    f"{error}"
                ) from error
            time.sleep(SERVER_RETRY_SECONDS)
        else:
            return


def _is_gone(pid: int) -> bool:
    with suppress(ChildProcessError):  # PostgreSQL detaches itself and is nobody's child
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # as root it runs under a user of its own
    return False


def _stop_children(children: tuple[Child, ...]) -> None:
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS_MAX
    for child in children:
        child.wait(deadline)


def _stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C, SIGTERM and a closed terminal set."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    return stop
