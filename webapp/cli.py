"""The command `atelier`: reads its words, calls one function, and says errors in one sentence.

Imports what a subcommand needs when it runs: `render` must not load the web, `up` must not load
the page library, and none may wait for another's imports.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from licensing.errors import AtelierError
from webapp import log_words, operator_words
from webapp.host import lifeline
from webapp.host.premises import LISTENER_VARIABLE, CannotRun, bind, locked, prepare_folder
from webapp.settings import Settings, SettingsProblem, read_settings

GRACEFUL_SECONDS_MAX = 3  # open event streams never end by themselves


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    lifeline.hold(os.environ)
    try:
        return int(COMMANDS[chosen.command](chosen) or 0)
    except (CannotRun, SettingsProblem) as error:
        print(f"atelier: {error}", file=sys.stderr)
    except AtelierError as error:
        print(f"atelier: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 1


def _up(_: argparse.Namespace) -> None:
    settings = read_settings(os.environ)
    from webapp.host.supervise import up

    up(settings, os.environ, lambda line: print(line, flush=True))


def _web(_: argparse.Namespace) -> None:
    settings = read_settings(os.environ)
    import gc
    import socket

    # Importing the page library makes two million objects that stay: looking through them for
    # garbage again and again took a fifth of the start.
    gc.disable()
    import uvicorn

    from webapp.app import create_app

    given = os.environ.get(LISTENER_VARIABLE)
    listener = socket.socket(fileno=int(given)) if given else bind(settings)
    app = create_app(settings)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACEFUL_SECONDS_MAX,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _worker(_: argparse.Namespace) -> None:
    _require_servers()
    from inference.settings import WrongSetting, from_environment
    from inference.worker import run_worker

    try:
        run_worker(from_environment(os.environ))
    except WrongSetting as problem:
        raise CannotRun(str(problem)) from problem


def _beat(_: argparse.Namespace) -> None:
    _require_servers()
    from inference.beat import run_beat
    from inference.settings import from_environment

    run_beat(from_environment(os.environ))


def _migrate(_: argparse.Namespace) -> None:
    from migrations.run import upgrade

    with _database_url(read_settings(os.environ)) as url:
        upgrade(url)
    print("The database is at the newest migration.")


def _audit(chosen: argparse.Namespace) -> int:
    if chosen.action is not None:
        return _audit_log(chosen)
    from licensing.audit import audit
    from licensing.db import connect

    with _database_url(read_settings(os.environ)) as url:
        database = connect(url)
        with database.read() as session:
            differences = audit(session)
        database.dispose()
    for difference in differences:
        print(difference)
    if not differences:
        print("The books are right: every balance equals the sum of its transfers.")
    return 1 if differences else 0


def _audit_log(chosen: argparse.Namespace) -> int:
    from inference.settings import papers_folder
    from licensing.db import connect
    from webapp import log_commands

    if chosen.action == "verify" and chosen.offline is not None:  # needs nothing of a studio
        told = log_commands.verify_offline(chosen)
    else:
        settings = read_settings(os.environ)
        with _database_url(settings) as url:
            database = connect(url)
            try:
                told = log_commands.ACTIONS[chosen.action](
                    chosen, database, papers_folder(settings.state)
                )
            finally:
                database.dispose()
    for line in told.lines:
        print(line)
    return 0 if told.is_sound else 1


def _render(chosen: argparse.Namespace) -> None:
    from inference.render_command import LoraFile, RenderOrder, render_to_files

    settings = read_settings(os.environ)
    order = RenderOrder(
        prompt=chosen.prompt,
        model=chosen.model,
        out=chosen.out,
        weights_folder=settings.weights,
        state_folder=settings.state,
        seed=chosen.seed,
        width=chosen.width,
        height=chosen.height,
        images=chosen.images,
        loras=tuple(LoraFile.parse(written) for written in chosen.lora),
    )
    for path in render_to_files(order, lambda line: print(line, file=sys.stderr)):
        print(path)


def _operate(chosen: argparse.Namespace) -> None:
    from licensing.db import connect
    from webapp.operator_commands import COMMANDS as VERBS

    settings = read_settings(os.environ)
    with _database_url(settings) as url:
        database = connect(url)
        chosen.state = settings.state
        try:
            for line in VERBS[chosen.command](chosen, database, settings.weights):
                print(line)
        finally:
            database.dispose()


COMMANDS = {
    "up": _up,
    "web": _web,
    "worker": _worker,
    "beat": _beat,
    "migrate": _migrate,
    "audit": _audit,
    "render": _render,
    **dict.fromkeys(operator_words.NAMES, _operate),
}


@contextmanager
def _database_url(settings: Settings) -> Iterator[str]:
    """Give the configured database, or the embedded one, started for the time of the block."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    from webapp.host.servers import start_postgres

    prepare_folder(settings.state)
    with ExitStack() as stack:
        try:
            told = f"process {os.getpid()}, a short command"
            stack.enter_context(locked(settings.state, told))
            is_ours = True
        except CannotRun:
            is_ours = False  # a studio runs from here: its database is up, and stays up
        server = start_postgres(settings.state / "postgres")
        if is_ours:
            stack.callback(server.stop)
        yield server.url


def _require_servers() -> None:
    for name in ("DATABASE_URL", "BROKER_URL"):
        if not os.environ.get(name):
            raise CannotRun(
                f"{name} is not set. `atelier up` brings a database and a broker of its own; a "
                "single process needs to be told where they are."
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atelier", description="A self-hosted studio for the Krea 2 family of image models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, words in {
        "up": "start the whole studio on this machine and print its address",
        "web": "run the web process alone (DATABASE_URL and BROKER_URL)",
        "worker": "run one worker alone",
        "beat": "run the sweep that repairs lost jobs",
        "migrate": "bring the database to the newest migration",
    }.items():
        commands.add_parser(name, help=words)
    log_words.add_parsers(commands)
    operator_words.add_parsers(commands)
    render = commands.add_parser("render", help="make a picture without database or browser")
    render.add_argument("prompt")
    render.add_argument("--model", default="pocket-turbo")
    render.add_argument("--seed", type=int)
    render.add_argument("--width", type=int)
    render.add_argument("--height", type=int)
    render.add_argument("--images", type=int, default=1)
    render.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="draw with a LoRA, at strength 1 if none is given; may be repeated",
    )
    render.add_argument("--out", type=Path, default=Path("picture.png"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
