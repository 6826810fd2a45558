from typing import Any

from django.core.management.base import CommandParser

from apps.accounts import bootstrap, commandline


class Command(commandline.Command):
    help = "The way back in: makes the user an active admin with a new password, creating it if need be."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default="admin")
        commandline.add_password_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = commandline.given_password(options)
        user, password = bootstrap.recover_admin(options["username"], password=given)
        self.stdout.write(f"user      {user}")
        if given is None:
            self.stdout.write(f"password  {password}")
