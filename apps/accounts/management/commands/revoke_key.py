from typing import Any

from django.core.management.base import CommandParser

from apps.accounts import commandline, keys


class Command(commandline.Command):
    help = "Revokes an API key, named by its prefix (as list_keys shows it) or by the whole secret."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key")

    def handle(self, *args: Any, **options: Any) -> None:
        key = keys.find(options["key"])
        keys.revoke(key)
        self.stdout.write(f"revoked {key} of {key.user}")
