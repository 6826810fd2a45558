from typing import Any

from django.core.management.base import CommandParser

from apps.accounts import commandline, users
from apps.accounts.models import ApiKey


class Command(commandline.Command):
    help = "Lists API keys, everybody's or one user's. Secrets are not kept and cannot be listed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = ApiKey.objects.select_related("user").order_by("user__username", "id")
        if options["username"]:
            rows = rows.filter(user=users.find(options["username"]))
        for key in rows:
            self.stdout.write("\t".join(columns(key)))


def columns(key: ApiKey) -> list[str]:
    used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
    return [f"corral_{key.prefix}", key.user.username, key.name, ",".join(key.scopes), state(key), used]


def state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    if not key.user.is_active:
        return "user disabled"
    if not key.is_usable:
        return "expired"
    return f"until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "active"
