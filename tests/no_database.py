"""Settings for `make check`, where no database runs: Django then compares models with migrations by reading both."""

from tests.settings import *  # noqa: F403

DATABASES: dict[str, dict[str, object]] = {}
