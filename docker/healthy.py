"""Whether this container does its work: `web` asks its own page, `worker` looks for its heartbeat.

Exits with 0 or with a sentence. Run by the images' HEALTHCHECK; imports nothing of ours, so
that it starts in a moment.
"""

import os
import socket
import sys
import urllib.error
import urllib.request

import psycopg

TIMEOUT_SECONDS = 4
SILENT_SECONDS_MAX = (
    30  # a heartbeat comes every two seconds; a restart of the database takes longer
)
# A worker's name begins with its host's.
HEARD = """
    SELECT 1 FROM worker_presence WHERE starts_with(name, %s)
       AND heartbeat_at > clock_timestamp() - make_interval(secs => %s)
"""


def main() -> str | None:
    """Return what is wrong, or nothing."""
    return web() if sys.argv[1:] == ["web"] else worker()


def web() -> str | None:
    address = f"http://127.0.0.1:{os.environ.get('ATELIER_PORT', '7860')}/healthz"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS):
            return None
    except (urllib.error.URLError, TimeoutError) as error:
        return f"{address}: {error}"


def worker() -> str | None:
    url = os.environ["DATABASE_URL"].replace("postgresql+psycopg:", "postgresql:", 1)
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_SECONDS) as database:
            heard = database.execute(HEARD, (socket.gethostname(), SILENT_SECONDS_MAX)).fetchone()
    except psycopg.Error as error:
        return f"The database does not answer: {error}"
    return None if heard else f"No worker of {socket.gethostname()} has been heard of lately."


if __name__ == "__main__":
    sys.exit(main())
