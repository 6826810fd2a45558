"""People: create, disable, enable, make an admin, give a new password. Every change is recorded."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps import audit
from apps.accounts import names
from apps.accounts.models import User
from apps.errors import Problem


def create(
    *, username: str, password: str | None = None, email: str = "", is_admin: bool = False, actor: User | None = None
) -> tuple[User, str]:
    """A new user and the password, generated when none is given."""
    names.check(username)
    password = _checked(password)
    with name_taken(username), transaction.atomic():
        user = User.objects.create_user(username, password, email=email, is_superuser=is_admin)
        audit.record(actor=actor, action="user.create", target=f"user:{username}", detail={"admin": is_admin})
    return user, password


def find(username: str) -> User:
    """The user of this name; Problem("not_found") if there is none."""
    try:
        return User.objects.named(username)
    except User.DoesNotExist:
        raise Problem("not_found", f"user '{username}' not found") from None


def change(
    user: User, *, is_active: bool | None = None, is_admin: bool | None = None, actor: User | None = None
) -> None:
    """Both or neither; None leaves as it is."""
    with transaction.atomic():
        if is_admin is not None:
            set_admin(user, is_admin, actor=actor)
        if is_active is not None:
            set_active(user, is_active, actor=actor)


def set_active(user: User, active: bool, *, actor: User | None = None) -> None:
    """Disabling ends everything the user's keys and sessions could do, at once; enabling gives it back."""
    with transaction.atomic():
        if not active:
            _refuse_last_admin(user)
        if User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active):
            audit.record(actor=actor, action="user.enable" if active else "user.disable", target=f"user:{user}")
    user.is_active = active


def set_admin(user: User, is_admin: bool, *, actor: User | None = None) -> None:
    with transaction.atomic():
        if not is_admin:
            _refuse_last_admin(user)
        if User.objects.filter(pk=user.pk, is_superuser=not is_admin).update(is_superuser=is_admin):
            action = "user.make_admin" if is_admin else "user.unmake_admin"
            audit.record(actor=actor, action=action, target=f"user:{user}")
    user.is_superuser = is_admin


def reset_password(user: User, *, password: str | None = None, actor: User | None = None) -> str:
    """Sets the password, generated when none is given. Sessions that knew the old one end."""
    password = _checked(password, user)
    user.set_password(password)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(password=user.password)
        audit.record(actor=actor, action="user.reset_password", target=f"user:{user}")
    return password


def generate_password() -> str:
    """20 characters, 120 random bits."""
    return secrets.token_urlsafe(15)


@contextmanager
def name_taken(name: str) -> Iterator[None]:
    """Says in a sentence what the database's one uniqueness of names refused."""
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") or ""
        if constraint not in _NAME_CONSTRAINTS:
            raise
        raise Problem("conflict", f"the name '{name}' is taken") from error


_NAME_CONSTRAINTS = frozenset(
    {
        "accounts_handle_pkey",
        "accounts_user_username_key",
        "user_name_without_case",
        "accounts_group_name_key",
        "group_name_without_case",
    }
)


def _refuse_last_admin(user: User) -> None:
    """Two admins who take each other's power away at once must not both succeed, hence the locks in one order."""
    admins = list(User.objects.admins().select_for_update())
    if admins == [user]:
        raise Problem("conflict", f"{user} is the last admin; make somebody else an admin first")


def _checked(password: str | None, user: User | None = None) -> str:
    if password is None:
        return generate_password()
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Problem("invalid", " ".join(error.messages)) from error
    return password
