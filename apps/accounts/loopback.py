"""When is a caller without a key the local admin? Only when nothing suggests that it came from anywhere else.

A proxy on the same machine, a page of another site and a rebound name all reach a loopback socket, so each of them is
looked for, and whatever is unknown counts as foreign.
"""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

from apps.accounts.models import User

# Set by the Origin guard when it knows the page that sent the request. No header can spell this key.
TRUSTED_ORIGIN = "corral.trusted_origin"
PROXY_HEADERS = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")

# [v6] or a name or v4 address, each with or without a port; or a bare v6 address.
_NETLOC = re.compile(
    r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?|([0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*)", re.ASCII
)


def admin_for(request: HttpRequest) -> User | None:
    """The oldest active admin, if `request` comes from this machine's own hands.

    One query on a tiny index, the same price as a key; never cached, so that disabling an admin acts at once.
    """
    return User.objects.admins().first() if is_local(request) else None


def is_local(request: HttpRequest) -> bool:
    return (
        bool(settings.LOOPBACK_ADMIN)
        and listens_on_loopback(settings.LISTEN)
        and is_loopback_address(request.META.get("REMOTE_ADDR", ""))
        and is_loopback_host(host_of(request.META.get("HTTP_HOST", "")))
        and not any(name.startswith(PROXY_HEADERS) for name in request.META)
        and not _from_a_foreign_page(request)
    )


def listens_on_loopback(listen: str) -> bool:
    """`listen` is host, host:port, :port or a URL; a missing host is 127.0.0.1, as the supervisor reads it."""
    netloc = listen.strip().rpartition("://")[2].partition("/")[0]
    return is_loopback_host(host_of(netloc) or ("127.0.0.1" if netloc.startswith(":") else ""))


def host_of(netloc: str) -> str:
    """The host of `host[:port]`, in lower case and without brackets; "" when it cannot be read."""
    match = _NETLOC.fullmatch(netloc.strip().lower())
    return next(filter(None, match.groups()), "") if match else ""


def is_loopback_host(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or is_loopback_address(host)


def is_loopback_address(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of `origin` talks to its own server. The scheme is not compared: TLS may end before us."""
    scheme, _, netloc = origin.strip().lower().partition("://")
    return scheme in {"http", "https"} and bool(netloc) and netloc == host.strip().lower()


def _from_a_foreign_page(request: HttpRequest) -> bool:
    """Browsers say so by Origin or, where they send none, by Sec-Fetch-Site."""
    if request.META.get(TRUSTED_ORIGIN):
        return False
    origin = request.META.get("HTTP_ORIGIN", "")
    if origin and not same_origin(origin, request.META.get("HTTP_HOST", "")):
        return True
    return bool(request.META.get("HTTP_SEC_FETCH_SITE", "") == "cross-site")
