"""What a caller may do right now: the answer of authentication, carried as `request.auth`."""

from dataclasses import dataclass
from typing import Literal

from rest_framework.request import Request

from apps.accounts.models import ApiKey, User
from apps.errors import Problem

How = Literal["key", "signature", "session", "loopback"]

EVERYONE = frozenset({"infer", "models"})
HOW_TO_GET_A_KEY = (
    "send an API key as 'Authorization: Bearer corral_...'. "
    "Get one at /api/corral/keys, from an admin, or with `manage.py create_key <user> <name>` on the server"
)


@dataclass(frozen=True)
class Access:
    """`scopes` are the effective ones: what the credential was given and its user still has."""

    user: User
    scopes: frozenset[str]
    how: How
    key_id: int | None = None

    @property
    def is_admin(self) -> bool:
        return self.user.is_admin and "admin" in self.scopes


def scopes_of(user: User) -> frozenset[str]:
    """All that this user's own hands may do."""
    return EVERYONE | {"admin"} if user.is_admin else EVERYONE


def by_key(key: ApiKey) -> Access:
    return Access(key.user, frozenset(key.scopes) & scopes_of(key.user), "key", key.pk)


def by_signature(user: User) -> Access:
    """An Ollama client's signed request: replayable for minutes and blind to the body, so never an admin's power."""
    return Access(user, EVERYONE, "signature")


def by_session(user: User) -> Access:
    return Access(user, scopes_of(user), "session")


def by_loopback(user: User, *, through_a_page: bool) -> Access:
    """The local admin. A trusted page of another origin may use the models in that name, but not rule the house."""
    return Access(user, EVERYONE if through_a_page else scopes_of(user), "loopback")


def of(request: Request) -> Access:
    """The caller of an authenticated request; Problem("unauthenticated") if nobody."""
    if isinstance(request.auth, Access):
        return request.auth
    raise unauthenticated()


def unauthenticated(why: str = "you are not signed in") -> Problem:
    return Problem("unauthenticated", f"{why}; {HOW_TO_GET_A_KEY}")
