from django.apps import AppConfig


class CorralConfig(AppConfig):
    name = "corral"

    def ready(self) -> None:
        from corral import celery  # noqa: F401  the current app of whoever sends a task
