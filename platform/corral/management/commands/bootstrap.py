"""`manage.py bootstrap`: the tables, and the first administrator. Safe to repeat, and from many hosts at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from apps.accounts import bootstrap
from corral import house

LOCK = 0x6D696772617465  # "migrate", in ASCII; another number than ensure_admin's, which waits inside

SIGN_IN = """
  Sign in at   {url}/admin/
  name         {name}
  password     {password}
  API key      {key}

This is shown once. `manage.py reset_password` and `manage.py create_key` make new ones.
"""


class Command(BaseCommand):
    help = "Brings the database up to date and makes the first administrator if there is none."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sign-in", type=Path, help="Write the first sign-in to this file instead of showing it.")

    def handle(self, *args: Any, sign_in: Path | None, **options: Any) -> None:
        with alone():
            call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
            made = bootstrap.ensure_admin()
        if made is None:
            return
        text = SIGN_IN.format(url=house.address().url, name=made[0], password=made[1], key=made[2])
        if sign_in is None:
            self.stdout.write(text)
        else:
            _write_private(sign_in, text)


@contextmanager
def alone() -> Iterator[None]:
    """Lets one host after the other in, by a lock that ends with its connection."""
    try:
        with psycopg.connect(settings.DATABASE_URL, connect_timeout=10) as guard:
            guard.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            yield
    except (psycopg.OperationalError, OperationalError) as error:
        raise CommandError(f"PostgreSQL cannot be used: {str(error).strip()}") from error


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
