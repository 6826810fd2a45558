#!/usr/bin/env python
"""Corral's command line: `manage.py up` starts everything, `manage.py help` lists the rest."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "corral.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # a setting or a data folder that is refused: a sentence says which
        sys.exit(f"corral: {error}")


if __name__ == "__main__":
    main()
