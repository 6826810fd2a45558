"""The Celery application. Tasks are doors: they hand over and return; nothing waits in a queue of Celery's."""

import os
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_ready

from corral import collector

# "You're running the worker with superuser privileges": messages are JSON only, and who starts us as root has read so.
warnings.filterwarnings("ignore", category=SecurityWarning)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "corral.settings")

app = Celery("corral")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Celery sets up no logging of its own while somebody listens here: Django's LOGGING serves both."""


@worker_ready.connect
def all_is_loaded(**_: object) -> None:
    collector.spare_what_is_loaded()
