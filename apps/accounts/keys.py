"""API keys: issue, authenticate, revoke.

A secret reads `corral_<prefix>_<43 characters of base64url>`: 256 random bits, so a plain SHA-256 keeps it safe
and costs a request nothing. It is shown once, when it is issued.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps import audit
from apps.accounts import access as accesses
from apps.accounts.access import Access
from apps.accounts.models import SCOPES, ApiKey, User
from apps.compiled import Compiled, columns, instance
from apps.errors import Problem
from apps.streams import threads

PREFIX_ALPHABET = string.ascii_lowercase + string.digits
USED_EVERY = timedelta(minutes=1)

_SECRET = re.compile(r"corral_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


def issue(
    *,
    user: User,
    name: str,
    scopes: Iterable[str] = ("infer", "models"),
    expires_at: datetime | None = None,
    actor: User | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret. `actor` is who asked for it, None the operator."""
    wanted = _check(user=user, scopes=scopes, expires_at=expires_at)
    prefix = "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(8))
    secret = f"corral_{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            user=user, name=name, prefix=prefix, digest=_digest(secret), scopes=wanted, expires_at=expires_at
        )
        _record(actor, "key.issue", key, scopes=wanted, expires_at=expires_at)
    return key, secret


def issue_through(
    *, access: Access, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A key that a caller makes for itself: never stronger and never longer-lived than what it came with."""
    wanted = frozenset(scopes)
    if missing := wanted - access.scopes:
        raise Problem("forbidden", f"you cannot give a key the scope {_listed(missing)}, as you came without it")
    limit = ApiKey.objects.get(pk=access.key_id).expires_at if access.key_id else None
    if limit and (expires_at is None or expires_at > limit):
        raise Problem("forbidden", f"a key made with this key must expire no later than it, at {limit.isoformat()}")
    return issue(user=access.user, name=name, scopes=wanted, expires_at=expires_at, actor=access.user)


def looks_like_one(secret: str) -> bool:
    """Whether somebody may have meant a key of ours, rightly or wrongly typed."""
    return secret.lower().startswith("corral")


def authenticate(secret: str) -> ApiKey | None:
    """The key of this secret if it may be used now. One query, and a write at most once a minute, which nobody waits
    for."""
    match = _SECRET.fullmatch(secret)
    if not match:
        return None
    key = _with_prefix(match[1])
    if key is None or not hmac.compare_digest(key.digest, _digest(secret)) or not key.is_usable:
        return None
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at <= now - USED_EVERY:
        threads.afterwards(partial(_note_use, key, now))
    return key


_KEYS = Compiled(
    lambda prefix: ApiKey.objects.filter(prefix=prefix).values_list(*columns(ApiKey), *columns(User, "user__")),
    prefix=str,
)


def _with_prefix(prefix: str) -> ApiKey | None:
    """The key and its user: asked by every request that brings a key."""
    width = len(columns(ApiKey))
    for row in _KEYS(prefix=prefix):
        key = instance(ApiKey, row[:width])
        key.user = instance(User, row[width:])
        return key
    return None


def find(text: str) -> ApiKey:
    """By prefix, by `corral_<prefix>` or by the whole secret; Problem("not_found") otherwise."""
    match = re.fullmatch(r"(?:corral_)?([a-z0-9]{8})(?:_[A-Za-z0-9_-]{43})?", text, re.ASCII)
    key = ApiKey.objects.select_related("user").filter(prefix=match[1]).first() if match else None
    if key is None:
        raise Problem("not_found", "there is no such key")
    return key


def revoke(key: ApiKey, *, actor: User | None = None) -> None:
    """Ends a key at once. Doing it twice is fine; only the first time is recorded."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            _record(actor, "key.revoke", key)


def revoke_through(key: ApiKey, *, access: Access) -> None:
    """A caller may revoke its own keys, but a weak key cannot be used to take a stronger one away."""
    strength = frozenset(key.scopes) & accesses.scopes_of(key.user)
    if stronger := strength - access.scopes:
        raise Problem("forbidden", f"that key has the scope {_listed(stronger)}, which you came without")
    revoke(key, actor=access.user)


def _check(*, user: User, scopes: Iterable[str], expires_at: datetime | None) -> list[str]:
    wanted = sorted(set(scopes))
    if not wanted or not set(wanted) <= set(SCOPES):
        raise Problem("invalid", f"scopes must be one or more of {', '.join(SCOPES)}")
    if "admin" in wanted and not user.is_admin:
        raise Problem("forbidden", f"only an admin's key can have the scope 'admin', and {user} is not an admin")
    if expires_at is not None and expires_at <= timezone.now():
        raise Problem("invalid", "expires_at must lie in the future")
    return wanted


def _note_use(key: ApiKey, now: datetime) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USED_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _listed(scopes: Iterable[str]) -> str:
    return ", ".join(f"'{scope}'" for scope in sorted(scopes))


def _record(actor: User | None, action: str, key: ApiKey, **detail: object) -> None:
    shown = {"name": key.name, "user": key.user.username, **detail}
    audit.record(actor=actor, action=action, target=f"key:{key.prefix}", detail=shown)
