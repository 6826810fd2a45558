"""Registered Ed25519 public keys of Ollama clients (`~/.ollama/id_ed25519.pub`)."""

import base64
import binascii
import hashlib
from datetime import datetime
from functools import partial

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from django.db import transaction
from django.utils import timezone

from apps import audit
from apps.accounts.access import Access
from apps.accounts.keys import USED_EVERY
from apps.accounts.models import ApiKey, ClientKey, User
from apps.errors import Problem
from apps.streams import threads

KIND = "ssh-ed25519"
MAX_LINE = 1000


def add(*, user: User, line: str, name: str = "", actor: User | None = None) -> ClientKey:
    """Registers the line of a `.pub` file. Its comment is the name when none is given."""
    encoded, comment = parse_line(line)
    shown = (name or comment or "ollama client")[:100]
    with transaction.atomic():
        key, fresh = ClientKey.objects.get_or_create(
            public_key=encoded, defaults={"user": user, "name": shown, "fingerprint": fingerprint(encoded)}
        )
        if not fresh:
            raise Problem("conflict", f"the key {key.fingerprint} is registered already")
        _record(actor, "client_key.add", key)
    return key


def add_through(*, access: Access, line: str, name: str = "") -> ClientKey:
    """A caller registers its own client. As that never expires, what expires or may less cannot do it."""
    if not {"infer", "models"} <= access.scopes:
        raise Problem("forbidden", "registering a client needs the scopes 'infer' and 'models'")
    if access.key_id and ApiKey.objects.filter(pk=access.key_id, expires_at__isnull=False).exists():
        raise Problem("forbidden", "a key that expires cannot register a client, which would outlive it")
    return add(user=access.user, line=line, name=name, actor=access.user)


def remove(key: ClientKey, *, actor: User | None = None) -> None:
    with transaction.atomic():
        _record(actor, "client_key.remove", key)
        key.delete()


def note_use(key: ClientKey) -> None:
    """Writes at most once a minute when a key was used; nobody waits for it."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at <= now - USED_EVERY:
        threads.afterwards(partial(_note_use, key, now))


def _note_use(key: ClientKey, now: datetime) -> None:
    ClientKey.objects.filter(pk=key.pk, last_used_at=key.last_used_at).update(last_used_at=now)


def parse_line(line: str) -> tuple[str, str]:
    """`ssh-ed25519 AAAA… comment` → (the base64 part, the comment)."""
    kind, _, rest = line.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    if len(line) > MAX_LINE or kind != KIND or not comment.isprintable():
        raise Problem(
            "invalid", "a client key is one line: 'ssh-ed25519 AAAA… comment', as in ~/.ollama/id_ed25519.pub"
        )
    load(encoded)
    return encoded, comment.strip()


def load(encoded: str) -> Ed25519PublicKey:
    """The key in the base64 of an OpenSSH public key blob; only its one canonical spelling is accepted."""
    try:
        key = load_ssh_public_key(f"{KIND} {encoded}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Problem("invalid", "this is not an Ed25519 public key") from error
    if not isinstance(key, Ed25519PublicKey) or encode(key) != encoded:
        raise Problem("invalid", "this is not an Ed25519 public key")
    return key


def encode(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split(" ")[1]


def fingerprint(encoded: str) -> str:
    """As `ssh-keygen -l` shows it."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise Problem("invalid", "this is not base64") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _record(actor: User | None, action: str, key: ClientKey) -> None:
    detail = {"name": key.name, "user": key.user.username}
    audit.record(actor=actor, action=action, target=f"client_key:{key.fingerprint}", detail=detail)
