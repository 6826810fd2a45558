"""manage.py import_models [folder]: brings the models of an Ollama folder into the library."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.errors import Problem
from apps.registry import imports


class Command(BaseCommand):
    help = "Copies the models of an Ollama installation into the library, checking every hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", nargs="?", default=settings.IMPORT_MODELS or "~/.ollama/models")

    def handle(self, *args: Any, folder: str, **options: Any) -> None:
        root = Path(folder).expanduser()
        models = list(imports.found(root))
        if not models:
            raise CommandError(f"There are no models of Ollama in {root}.")
        failed = [str(one.name.short()) for one in models if not self._bring(one, root)]
        if failed:
            raise CommandError(f"Could not be brought over: {', '.join(failed)}.")

    def _bring(self, one: imports.Found, root: Path) -> bool:
        try:
            new = imports.bring(one, folder=root, report=self.stdout.write)
        except (Problem, OSError) as error:
            self.stderr.write(f"{one.name.short()}: {error}")
            return False
        self.stdout.write(f"{one.name.short()}: {'done' if new else 'was here already'}")
        return True
