from django.apps import AppConfig
from django.core.signals import request_started


class CorralConfig(AppConfig):
    name = "corral"

    def ready(self) -> None:
        from django.db import close_old_connections, reset_queries

        from corral import celery  # noqa: F401  the current app of whoever sends a task

        # A request's thread is its own and new, so it has no old connections to close: not worth a hop to it.
        request_started.disconnect(close_old_connections)
        request_started.disconnect(reset_queries)
