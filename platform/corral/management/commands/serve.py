"""`manage.py serve <process>`: one of the processes of `manage.py up`, alone, in place of this one.

For systemd units and containers, where somebody else supervises: docker-compose.yml uses it.
"""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from corral import datadir, house


class Command(BaseCommand):
    help = "Runs one of Corral's processes in the foreground."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("process", choices=sorted(house.SERVICES))

    def handle(self, *args: Any, process: str, **options: Any) -> None:
        chosen = house.SERVICES[process]()
        datadir.make_run(settings.DATA)
        os.execvpe(chosen.command[0], chosen.command, chosen.env or os.environ)
