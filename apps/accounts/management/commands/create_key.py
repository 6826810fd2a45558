from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from apps.accounts import commandline, keys, users
from apps.accounts.models import SCOPES

LONGEST_DAYS = 36500


class Command(commandline.Command):
    help = "Makes an API key and prints its secret, which is shown only this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("name", help="what the key is for")
        parser.add_argument("--scopes", default="infer,models", help=f"comma list of {', '.join(SCOPES)}")
        parser.add_argument("--days", type=int, help="days until it expires; never, if left out")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and not 0 < days <= LONGEST_DAYS:
            raise CommandError(f"--days must be 1 to {LONGEST_DAYS}")
        _, secret = keys.issue(
            user=users.find(options["username"]),
            name=options["name"],
            scopes=[scope.strip() for scope in options["scopes"].split(",") if scope.strip()],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        self.stdout.write(secret)
