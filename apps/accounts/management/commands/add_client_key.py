import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.accounts import client_keys, commandline, users


class Command(commandline.Command):
    help = "Registers the Ed25519 public key of an Ollama client (its ~/.ollama/id_ed25519.pub)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("file", help="the .pub file, or - for standard input")
        parser.add_argument("--name", default="", help="how to list it; the key's comment, if left out")

    def handle(self, *args: Any, **options: Any) -> None:
        user = users.find(options["username"])
        key = client_keys.add(user=user, line=_read(options["file"]), name=options["name"])
        self.stdout.write(f"registered {key.fingerprint} for {user}")


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read(client_keys.MAX_LINE + 1)
    try:
        with Path(file).open(encoding="ascii") as opened:
            return opened.read(client_keys.MAX_LINE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}") from error
