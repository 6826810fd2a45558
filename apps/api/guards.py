"""Host and Origin, checked before anything else sees a request (contract, section 22).

The Host check stands against DNS rebinding: on a loopback listener, a page of evil.example whose name now resolves to
127.0.0.1 still says `Host: evil.example`. The Origin check stands against pages that call us across origins.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import cache

import psutil
from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import validate_host
from django.urls import Resolver404, resolve
from django.utils.cache import patch_vary_headers

from apps.accounts import loopback

GUARDED = ("/api", "/v1", "/v2")
LOCAL_NAMES = (".localhost", ".local", ".internal")
# Go's netip.Addr.IsPrivate; Python's is_private holds more.
PRIVATE = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
DEFAULT_ORIGINS = (
    *(f"{scheme}://{host}{port}" for host in LOCAL_HOSTS for scheme in ("http", "https") for port in ("", ":*")),
    *(f"{scheme}://*" for scheme in ("app", "file", "tauri", "vscode-webview", "vscode-file")),
)
ALLOWED_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
ANTHROPIC_PATH = "/v1/messages"
ANTHROPIC_HEADERS = ",X-Api-Key,Anthropic-Version,Anthropic-Beta,Anthropic-Dangerous-Direct-Browser-Access"
ALLOWED_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
MAX_AGE_SECONDS = "43200"


class Guards:
    """Async middleware; stands directly behind the request log, before static files and sessions."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        host, origin = request.META.get("HTTP_HOST", ""), request.META.get("HTTP_ORIGIN", "")
        crossing = bool(origin) and is_guarded(request.path) and not loopback.same_origin(origin, host)
        if not host_allowed(host) or (crossing and not origin_allowed(origin, host)):
            return _refuse(request)
        if request.method == "OPTIONS" and (crossing or _is_named(host)):
            return preflight(request, origin) if crossing else _empty(204)
        if crossing and _is_listed(origin):
            request.META[loopback.TRUSTED_ORIGIN] = "1"
        reply = await self.get_response(request)
        return _with_origin(reply, origin) if crossing else reply


def host_allowed(host: str) -> bool:
    """`host` is the Host header. Elsewhere than on loopback any name is good, unless CORRAL_HOSTS lists them."""
    bare = loopback.host_of(host)
    if settings.HOSTS and bare and validate_host(bare, settings.HOSTS):
        return True
    if loopback.listens_on_loopback(settings.LISTEN):
        return not host.strip() or _is_local_name(bare) or _is_near_address(bare)
    return not settings.HOSTS or loopback.is_loopback_host(bare)


def origin_allowed(origin: str, host: str) -> bool:
    """Whether a page of `origin` may talk to us; no Origin at all is not a page. For websockets too."""
    if not origin or loopback.same_origin(origin, host):
        return True
    return "*" in settings.ORIGINS or _is_listed(origin)


def is_guarded(path: str) -> bool:
    """The APIs; pages are the business of Django's CSRF protection."""
    return path == "/" or any(path == root or path.startswith(f"{root}/") for root in GUARDED)


def preflight(request: HttpRequest, origin: str) -> HttpResponse:
    reply = _empty(204)
    reply["Access-Control-Allow-Methods"] = ALLOWED_METHODS
    more = ANTHROPIC_HEADERS if request.path.startswith(ANTHROPIC_PATH) else ""
    reply["Access-Control-Allow-Headers"] = ALLOWED_HEADERS + more
    reply["Access-Control-Max-Age"] = MAX_AGE_SECONDS
    _with_origin(reply, origin)
    if "*" not in settings.ORIGINS:
        patch_vary_headers(reply, ["Access-Control-Request-Method", "Access-Control-Request-Headers"])
    return _with_allow(reply, request)


def _is_listed(origin: str) -> bool:
    """Named by the defaults or by CORRAL_ORIGINS. A lone `*` lets pages call with a key of theirs: no name."""
    patterns = [*DEFAULT_ORIGINS, *(pattern for pattern in settings.ORIGINS if pattern != "*")]
    return any(_fits(origin.strip().lower(), pattern.lower()) for pattern in patterns)


def _fits(origin: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return origin == pattern
    return len(origin) >= len(before) + len(after) and origin.startswith(before) and origin.endswith(after)


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(LOCAL_NAMES) or host == socket.gethostname().lower()


def _is_named(host: str) -> bool:
    """OPTIONS without an Origin is answered for names only, as the original does on loopback."""
    return loopback.listens_on_loopback(settings.LISTEN) and _is_local_name(loopback.host_of(host))


def _is_near_address(host: str) -> bool:
    """Loopback, private, unspecified or this machine's own: an address cannot be rebound."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or any(address in network for network in PRIVATE):
        return True
    return loopback.is_loopback_address(host) or host in _own_addresses()


@cache
def _own_addresses() -> frozenset[str]:
    return frozenset(entry.address.lower() for entries in psutil.net_if_addrs().values() for entry in entries)


def _refuse(request: HttpRequest) -> HttpResponse:
    return _with_allow(_empty(403), request)


def _empty(status: int) -> HttpResponse:
    reply = HttpResponse(status=status)
    del reply["Content-Type"]
    return reply


def _with_origin(reply: HttpResponse, origin: str) -> HttpResponse:
    if "*" in settings.ORIGINS:
        reply["Access-Control-Allow-Origin"] = "*"
        return reply
    reply["Access-Control-Allow-Origin"] = origin
    patch_vary_headers(reply, ["Origin"])
    return reply


def _with_allow(reply: HttpResponse, request: HttpRequest) -> HttpResponse:
    """The recordings carry Allow on what is answered before the router: for OPTIONS only, as a GET was routed."""
    if request.method != "OPTIONS":
        return reply
    try:
        view = getattr(resolve(request.path_info).func, "view_class", None)
    except Resolver404:
        return reply
    names = getattr(view, "http_method_names", [])
    methods = [name.upper() for name in names if name != "options" and hasattr(view, name)]
    if methods:
        reply["Allow"] = ", ".join(methods)
    return reply
