from typing import Any

from django.core.management.base import CommandParser

from apps.accounts import commandline, users


class Command(commandline.Command):
    help = "Gives a user a new password and prints it. Sessions that knew the old one end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        commandline.add_password_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = commandline.given_password(options)
        user = users.find(options["username"])
        password = users.reset_password(user, password=given)
        self.stdout.write(f"user      {user}")
        if given is None:
            self.stdout.write(f"password  {password}")
