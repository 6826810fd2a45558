"""`manage.py up`: everything on this machine, under one supervisor, until Ctrl-C."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from corral import startup
from corral.datadir import DataError, sentence
from corral.processes import StartError


class Command(BaseCommand):
    help = "Starts everything on this machine and keeps it running until Ctrl-C."
    requires_system_checks = []  # `make check` runs them; here they would only be slow

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            startup.up(self.say)
        except (StartError, DataError) as error:
            sys.exit(f"corral: {error}")
        except OSError as error:
            sys.exit(f"corral: {sentence(error)}")
        except KeyboardInterrupt:  # before the supervisor was there to hear it: nothing runs yet
            sys.exit(130)

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
