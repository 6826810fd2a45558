from typing import Any

from django.core.management.base import CommandParser

from apps.accounts import commandline, users


class Command(commandline.Command):
    help = "Creates an admin and prints the password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        commandline.add_password_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = commandline.given_password(options)
        user, password = users.create(username=options["username"], password=given, is_admin=True)
        self.stdout.write(f"user      {user}")
        if given is None:
            self.stdout.write(f"password  {password}")
