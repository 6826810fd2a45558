"""alice owns the group herd, bob is in it, charlie is not; root is the admin. `as_` makes a caller of a user."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Group, User
from tests import factories

ALL = ("infer", "models", "admin")


@dataclass(frozen=True)
class Caller:
    client: Client

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        kwargs = {"data": body, "content_type": "application/json"} if body is not None else {}
        return getattr(self.client, method)(f"/api/corral/{path}", **kwargs)


@dataclass(frozen=True)
class People:
    alice: User
    bob: User
    charlie: User
    root: User
    herd: Group


@pytest.fixture
def people(db: None) -> People:
    alice, bob, charlie = (factories.user(name) for name in ("alice", "bob", "charlie"))
    return People(alice, bob, charlie, factories.admin(), factories.group("herd", members=[bob], owners=[alice]))


@pytest.fixture
def as_() -> Callable[..., Caller]:
    """A caller far away with a key of `user` (all scopes the user may have, unless given); None has no key."""

    def make(user: User | None, scopes: tuple[str, ...] | None = None, **kw: Any) -> Caller:
        far = {"REMOTE_ADDR": "203.0.113.9", "HTTP_HOST": "localhost"}
        if user is None:
            return Caller(Client(**far))
        given = scopes or (ALL if user.is_admin else ALL[:2])
        return Caller(Client(**far, HTTP_AUTHORIZATION=f"Bearer {factories.api_key(user, given, **kw)}"))

    return make
