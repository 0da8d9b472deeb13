"""How long the filters take, none of which the device waits for.

The prompt filter on harmless prompts of its training, the output filter on pictures of three sizes,
the veil over a preview, a match of one picture in all eight orientations against a list of a
million hashes, and the log: linking and verifying. Prints the median of many runs beside the bar;
asserts nothing.

    python benchmarks/safety.py [--hashes 1000000] [--rows 20000]
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sqlalchemy import text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference.safety import pdq, previews  # noqa: E402 - the repository is on the path from here
from inference.safety.image import ImageFilter  # noqa: E402
from inference.safety.learned import LearnedClassifier  # noqa: E402
from inference.safety.learning import compose  # noqa: E402
from licensing import chain, seats  # noqa: E402
from licensing.chain import checkpoints  # noqa: E402
from licensing.chain.signing import open_key  # noqa: E402
from licensing.db import Database, connect  # noqa: E402
from licensing.moderation import check_prompt  # noqa: E402
from licensing.seats import Identity, Role  # noqa: E402
from migrations.run import upgrade  # noqa: E402
from webapp.host.servers import start_postgres  # noqa: E402

RUNS = 31
PROMPTS = 200  # as many runs, since they differ
THREADS = 2
MILLISECOND = 1e-3
PICTURE = Image.effect_mandelbrot((1024, 1024), (-2.1, -1.3, 0.7, 1.3), 60).convert("RGB")


def main() -> None:
    """Print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=20_000)
    chosen = parser.parse_args()
    print("| what | median | processors | bar |\n|---|---:|---:|---:|")
    torch.set_num_threads(THREADS)
    _prompts()
    _filters()
    _block_list(chosen.hashes)
    with tempfile.TemporaryDirectory() as folder:
        server = start_postgres(Path(folder) / "postgres")
        try:
            upgrade(server.url)
            _log(connect(server.url), Path(folder), chosen.rows)
        finally:
            server.stop()


def _prompts() -> None:
    classifier = LearnedClassifier()
    classifier.load()
    prompts = cycle(one.text for one in compose.harmless("train", each=25, seed=0))

    def judge() -> None:
        prompt = next(prompts)
        check_prompt(prompt)
        classifier.check(prompt)

    _measure("prompt filter: rules and classifier", judge, "30 ms", runs=PROMPTS)


def _filters() -> None:
    judge = ImageFilter()
    judge.load()
    for side in (256, 1024, 2048):
        picture = PICTURE.resize((side, side))
        _measure(f"output filter, {side} px", partial(judge.check, picture), "150 ms")
    buffer = io.BytesIO()
    PICTURE.resize((64, 64)).save(buffer, "WEBP", quality=75)
    preview = buffer.getvalue()
    _measure("a preview and its veil", lambda: previews.cover(preview, judge.check), "")


def _block_list(count: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (count, pdq.BYTES), np.uint8)
    index = pdq.HashIndex(hashes)
    found = pdq.fingerprint(PICTURE).orientations
    _measure("PDQ of one picture, 8 ways", lambda: pdq.fingerprint(PICTURE), "")
    _measure(f"match among {count:,} hashes", lambda: index.near(found), "60 ms")


def _log(database: Database, folder: Path, rows: int) -> None:
    with database.transaction() as session:
        organisation = seats.create_organisation(
            session, name="Bench", tier="business", seat_ceiling=5
        )
        person = Identity(
            "https://sso.example", "1", "a@sso.example", email_verified=True, name="A"
        )
        member = seats.add_member(session, organisation.id, person, role=Role.OWNER, seated=True)
    given = {"o": organisation.id, "m": member.id, "n": rows}
    written = {is_chained: _write(database, given, is_chained=is_chained) for is_chained in (0, 1)}
    _line("a verdict's trigger", (written[1] - written[0]) / rows)
    began = time.perf_counter()
    sealed = chain.seal(database)
    _line("linking a row", (time.perf_counter() - began) / sealed)
    key = open_key(folder / "papers", {})
    checkpoints.make(database, key)
    began = time.perf_counter()
    report = chain.inspect(database, [], frozenset({key.public}))
    _line("verifying a row", (time.perf_counter() - began) / report.links)
    database.dispose()


def _write(database: Database, given: dict[str, object], *, is_chained: int) -> float:
    """Write verdicts in one statement, with the chain's trigger or without; in seconds."""
    with database.transaction() as session:
        switch = "ENABLE" if is_chained else "DISABLE"
        session.execute(text(f"ALTER TABLE verdict {switch} TRIGGER chain_row"))
        began = time.perf_counter()
        session.execute(_INSERT, given)
        took = time.perf_counter() - began
        if not is_chained:
            session.rollback()
    return took


def _measure(what: str, work: Callable[[], object], bar: str, *, runs: int = RUNS) -> None:
    """Print the median time that `work` takes, and the processors' time in it."""
    work()
    walls, processors = [], []
    for _ in range(runs):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    _line(what, statistics.median(walls), bar, statistics.median(processors))


def _line(what: str, seconds: float, bar: str = "", processor: float | None = None) -> None:
    spent = "" if processor is None else _in_words(processor)
    print(f"| {what} | {_in_words(seconds)} | {spent} | {bar} |", flush=True)


def _in_words(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= MILLISECOND else f"{seconds * 1e6:.0f} µs"


_INSERT = text(
    """
    INSERT INTO verdict (organisation_id, member_id, subject, action, source, excerpt, at)
    SELECT :o, :m, 'image', 'allow', 'bench', 'a red apple on a table ' || n, now()
      FROM generate_series(1, :n) AS n
    """
)

if __name__ == "__main__":
    main()
