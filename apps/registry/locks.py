"""Locks on names of things, held until the transaction ends. They order writers that have no row to lock yet."""

from django.db import connection


def hold(*keys: str) -> None:
    """Waits for the locks of `keys`, in one order for everybody. Must be called inside a transaction."""
    with connection.cursor() as cursor:
        for key in sorted(set(keys)):
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
