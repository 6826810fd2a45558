"""What the commands of this room share: problems as one sentence, and passwords that never stand in `ps`."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.errors import Problem


class Command(BaseCommand):
    """Turns a Problem into the sentence that it is; never a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Problem as problem:
            raise CommandError(problem.message) from problem


def add_password_option(parser: CommandParser) -> None:
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input instead of generating one"
    )


def given_password(options: dict[str, Any]) -> str | None:
    """The first line of standard input where asked for, else None: one will be generated."""
    return sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else None
