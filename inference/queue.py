"""The message that says "there is work": one id, to one queue a worker class, over Celery.

A message is a doorbell and holds nothing else. It is acknowledged early, has no result and is never
retried by Celery: the row is the truth, and the sweep rings again where nobody came. Called on the
line after the commit of the transaction that queued the row.
"""

import logging
import uuid

from celery import Celery
from kombu.exceptions import OperationalError

from inference import models

GENERATE = "generate"  # task names
PROBE = "probe"
SWEEP = "sweep"
TIDY = "tidy"
CLOSE = "close"
HASH = "hash"
SEAL = "seal"
SWEEP_QUEUE = "sweep"

PUBLISH_RETRIES_MAX = 2  # the first may meet a connection that died in the pool
CONNECT_SECONDS_MAX = 2.0  # a press of the button must not hang behind an absent broker

_log = logging.getLogger(__name__)


def create_celery(broker_url: str) -> Celery:
    """Return the Celery application of the web app, the worker and the beat; opens nothing."""
    celery = Celery("atelier", broker=broker_url, set_as_current=False)
    transport_options: dict[str, object] = {}
    if broker_url.startswith(("redis", "rediss", "valkey")):
        transport_options = {
            "socket_connect_timeout": CONNECT_SECONDS_MAX,
            # Of the queues that a worker serves, the first one that has a message: what is paid
            # for comes before the checks of LoRAs.
            "queue_order_strategy": "priority",
        }
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        # A message reserved behind a long job would keep another, idle worker from taking it.
        worker_disable_prefetch=broker_url.startswith(("redis", "rediss", "valkey")),
        broker_transport_options=transport_options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its broker as long as it takes
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return celery


def queue_name(worker_class: str) -> str:
    """Return the name of the queue that the workers of this class serve."""
    return f"generate-{worker_class}"


def probe_queue_name(worker_class: str) -> str:
    """Return the name of the queue of LoRAs that the workers of this class check."""
    return f"probe-{worker_class}"


def enqueue(celery: Celery, generation_id: uuid.UUID, model: str) -> bool:
    """Ring for a worker; False if the broker cannot be reached, and then the sweep rings later."""
    return _ring(celery, GENERATE, generation_id, queue_name(models.find(model).worker_class))


def enqueue_probe(celery: Celery, adapter_id: uuid.UUID, worker_class: str) -> bool:
    """Ring for the check of a LoRA; False if the broker cannot be reached, as `enqueue`."""
    return _ring(celery, PROBE, adapter_id, probe_queue_name(worker_class))


def _ring(celery: Celery, task: str, row_id: uuid.UUID, queue: str) -> bool:
    try:
        celery.send_task(
            task,
            args=[str(row_id)],
            queue=queue,
            ignore_result=True,
            retry=True,
            retry_policy={
                "max_retries": PUBLISH_RETRIES_MAX,
                "interval_start": 0,
                "interval_step": 0.1,
            },
        )
    except OperationalError:
        _log.warning("The broker cannot be reached; %s %s waits for it.", task, row_id)
        return False
    return True
