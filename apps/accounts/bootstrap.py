"""The first admin of a new house, and the way back in when the last one is lost."""

from itertools import count

from django.db import connection, transaction

from apps.accounts import keys, names, users
from apps.accounts.models import SCOPES, Handle, User

# Any number that nothing else locks: "corral" in ASCII.
_LOCK = 0x636F7272616C


def ensure_admin() -> tuple[str, str, str] | None:
    """(name, password, API key with every scope) of a new admin, or None if an active one exists.

    Any number of processes may call it at once: one of them creates.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if User.objects.admins().exists():
            return None
        user, password = users.create(username=_free_name(), is_admin=True)
        _, secret = keys.issue(user=user, name="first key", scopes=SCOPES)
    return user.username, password, secret


def recover_admin(username: str = "admin", *, password: str | None = None) -> tuple[User, str]:
    """Makes `username` an active admin with a new password, whoever it was; creates it if need be."""
    with transaction.atomic():
        if not Handle.objects.filter(name=names.check(username).lower()).exists():
            return users.create(username=username, password=password, is_admin=True)
        user = users.find(username)
        users.set_active(user, True)
        users.set_admin(user, True)
        return user, users.reset_password(user, password=password)


def _free_name() -> str:
    """admin, or admin-2 and so on where that name is somebody's: nobody is promoted by accident."""
    candidates = ("admin" if number == 1 else f"admin-{number}" for number in count(1))
    return next(name for name in candidates if not Handle.objects.filter(name=name).exists())
