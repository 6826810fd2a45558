"""People for the tests. alice owns the thing, bob is in her group, charlie must see nothing."""

from collections.abc import Iterable
from typing import Any

from apps.accounts import keys
from apps.accounts.models import Group, Membership, User

PASSWORD = "a long enough password"


def user(name: str, **kw: Any) -> User:
    return User.objects.create_user(name, kw.pop("password", PASSWORD), **kw)


def admin(name: str = "root") -> User:
    return User.objects.create_superuser(name, PASSWORD)


def group(name: str, members: Iterable[User] = (), owners: Iterable[User] = ()) -> Group:
    made = Group.objects.create(name=name)
    for role, people in ((Membership.Role.OWNER, owners), (Membership.Role.MEMBER, members)):
        for person in people:
            Membership.objects.create(group=made, user=person, role=role)
    return made


def api_key(user: User, scopes: Iterable[str] = ("infer", "models"), **kw: Any) -> str:
    """The secret of a new key, as it goes behind `Bearer `."""
    return keys.issue(user=user, name=kw.pop("name", "test"), scopes=scopes, **kw)[1]
