"""Signed requests of Ollama clients with OLLAMA_AUTH=1 (wire contract, section 17.3).

The client adds `?ts=<unix seconds>` and sends `Authorization: <base64 public key>:<base64 signature>` over
"METHOD,/path?ts=<unix seconds>". Neither body nor host is covered and there is no nonce: two equal calls in one second
are signed alike, so a replay cannot be told from a repetition. The window bounds it.
"""

import base64
import binascii
import re
import time
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from django.http import HttpRequest

from apps.accounts import client_keys
from apps.accounts.access import unauthenticated
from apps.accounts.models import ClientKey
from apps.errors import Problem

WINDOW_SECONDS = 300

_CREDENTIAL = re.compile(r"([A-Za-z0-9+/]{20,200}={0,2}):([A-Za-z0-9+/]{86}==)", re.ASCII)


def looks_signed(credential: str) -> bool:
    return _CREDENTIAL.fullmatch(credential) is not None


def verify(request: HttpRequest, credential: str) -> ClientKey:
    """The registered key that signed this request; Problem("unauthenticated") says what is wrong otherwise."""
    encoded, signature = credential.split(":", 1)
    _check_time(request)
    _check_signature(encoded, signature, f"{request.method},{target(request)}".encode("latin-1", "replace"))
    key = ClientKey.objects.select_related("user").filter(public_key=encoded).first()
    if key is None:
        shown = client_keys.fingerprint(encoded)
        raise _refused(
            f"the client key {shown} is not registered here; add its line of ~/.ollama/id_ed25519.pub at "
            "/api/corral/client-keys or with `manage.py add_client_key`"
        )
    if not key.user.is_active:
        raise _refused("the user of this client key is disabled")
    client_keys.note_use(key)
    return key


def target(request: HttpRequest) -> str:
    """Path and query as they came over the wire, undecoded: they are what was signed."""
    raw: bytes = getattr(request, "scope", {}).get("raw_path") or b""
    if not raw:
        return request.get_full_path()
    query = request.META.get("QUERY_STRING", "")
    return raw.decode("latin-1") + (f"?{query}" if query else "")


def _check_time(request: HttpRequest) -> None:
    stamps = parse_qs(request.META.get("QUERY_STRING", "")).get("ts", [])
    if len(stamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", stamps[0], re.ASCII):
        raise _refused("a signed request carries its time once, as ?ts=<unix seconds>")
    away = int(stamps[0]) - int(time.time())
    if abs(away) > WINDOW_SECONDS:
        direction = "ahead of" if away > 0 else "behind"
        raise _refused(f"the request was signed {abs(away)} s {direction} this server's clock; check both clocks")


def _check_signature(encoded: str, signature: str, text: bytes) -> None:
    try:
        client_keys.load(encoded).verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, binascii.Error, Problem) as error:
        raise _refused("the signature does not fit this request") from error


def _refused(why: str) -> Problem:
    return unauthenticated(f"signed request refused: {why}")
