"""`manage.py starter`: the library at a start: what dead writers left goes, and the first model comes once."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.errors import Problem
from apps.registry import garbage, imports, starter

SAY_EVERY = 2.0  # seconds


class Command(BaseCommand):
    help = "Puts the starter model (CORRAL_STARTER) into the library, and tidies the store."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.doing, self.said = "", 0.0
        garbage.collect()
        try:
            done = starter.ensure(progress=self.progress)
        except Problem as problem:
            raise CommandError(problem.message) from problem
        if self.doing:
            self.say(done)
        if settings.IMPORT_MODELS and (hint := imports.hint(settings.IMPORT_MODELS)):
            self.say(hint)

    def progress(self, what: str, done: int, whole: int) -> None:
        """A line for every new thing, and then every other second."""
        if what == self.doing and time.monotonic() - self.said < SAY_EVERY:
            return
        self.doing, self.said = what, time.monotonic()
        self.say(f"{what}: {done // 10**6} of {whole // 10**6} MB" if whole else what)

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
