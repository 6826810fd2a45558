"""Who is calling: an API key, a signed request, a browser's session, or the local admin; in this order.

A credential that is wrong is refused, never passed over: a typing mistake must not turn into somebody else's rights.
But what does not even look like a key of ours is no credential where none is needed: clients that insist on a key are
told to send any word to a local server.
"""

import copy

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from apps.accounts import access as accesses
from apps.accounts import keys, loopback, signatures
from apps.accounts.access import Access
from apps.accounts.models import User
from apps.errors import Problem


class Caller(BaseAuthentication):
    """Sets request.user (a User) and request.auth (an Access). Problem("unauthenticated") for a wrong credential."""

    def authenticate(self, request: Request) -> tuple[User, Access] | None:
        access = from_headers(request._request) or _from_session(request) or _from_loopback(request._request)
        return (access.user, access) if access else None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="corral"'


def from_headers(request: HttpRequest) -> Access | None:
    """The caller by its headers alone (also for what is not a DRF view); None when they carry no credential."""
    credential = request.META.get("HTTP_AUTHORIZATION", "").strip()
    scheme, _, value = credential.partition(" ")
    if scheme.lower() == "bearer":
        return _by_secret(value.strip(), request)
    if signatures.looks_signed(credential):
        return accesses.by_signature(signatures.verify(request, credential).user)
    if credential:
        raise accesses.unauthenticated("this kind of Authorization header is not known here")
    secret = request.META.get("HTTP_X_API_KEY", "").strip()
    return _by_secret(secret, request) if secret else None


def _by_secret(secret: str, request: HttpRequest) -> Access | None:
    if not keys.looks_like_one(secret) and loopback.is_local(request):
        return None
    key = keys.authenticate(secret)
    if key is None:
        raise accesses.unauthenticated("this API key is unknown, expired or revoked")
    return accesses.by_key(key)


def _from_session(request: Request) -> Access | None:
    user = getattr(request._request, "user", AnonymousUser())
    if not isinstance(user, User) or not user.is_active:
        return None
    _require_csrf_token(request._request)
    return accesses.by_session(user)


def _require_csrf_token(request: HttpRequest) -> None:
    """Django's CSRF check, of the X-CSRFToken header only.

    For a POST Django looks into the form first, which would use up a body that the view reads itself; it does not for a
    PUT, hence the copy under that name.
    """
    shown = copy.copy(request)
    if shown.method == "POST":
        shown.method = "PUT"
    check = CSRFCheck(_unused_view)
    check.process_request(shown)
    reason = check.process_view(shown, _unused_view, (), {})
    if reason:
        raise Problem(
            "forbidden", f"CSRF check failed: {reason} Send the csrftoken cookie as X-CSRFToken, or use a key."
        )


def _from_loopback(request: HttpRequest) -> Access | None:
    user = loopback.admin_for(request)
    through_a_page = bool(request.META.get(loopback.TRUSTED_ORIGIN))
    return accesses.by_loopback(user, through_a_page=through_a_page) if user else None


def _unused_view(request: HttpRequest) -> HttpResponse:
    """Django's check wants a view to ask whether it is exempt; this one is not."""
    return HttpResponse()
