from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.inference import runs
from apps.inference.models import Run


class Command(BaseCommand):
    help = "Cancels a run by its id, or with --list shows the runs that wait or run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?")
        parser.add_argument("--list", action="store_true", dest="show")

    def handle(self, *args: Any, run: str | None, show: bool, **options: Any) -> None:
        if show or run is None:
            for row in Run.objects.open().select_related("user").order_by("created_at"):
                self.stdout.write(f"{row.pk}  {row.state:8}  {row.user.username:20}  {row.model}")
            return
        try:
            found = Run.objects.filter(pk=run).first()
        except ValidationError:
            found = None
        if found is None:
            raise CommandError(f"There is no run {run}; `manage.py cancel_run --list` shows those that are open.")
        runs.cancel(found.pk, why="cancelled on the command line")
        self.stdout.write(f"Asked run {run} to end.")
