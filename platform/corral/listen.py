"""The address the web process listens on, written as Ollama's users write OLLAMA_HOST."""

import errno
import ipaddress
import socket
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured

from corral.processes import StartError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434


class Address(NamedTuple):
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where a person on this machine finds it."""
        host = {"0.0.0.0": DEFAULT_HOST, "::": "[::1]"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"


def parse(text: str) -> Address:
    """Reads `host:port`, `host`, `:port` or `http://host:port`; IPv6 addresses with or without brackets.

    A missing port is 11434 (80 behind `http://`), a missing host 127.0.0.1; both as Ollama has them, but for
    `:port`, which there means all interfaces: here that has to be said (`0.0.0.0:port`).
    """
    scheme, separator, rest = text.strip().rpartition("://")
    if separator and scheme.lower() != "http":
        raise ImproperlyConfigured(
            f"CORRAL_LISTEN={text!r}: Corral speaks plain http; put a proxy in front for {scheme}."
        )
    host, port = _split(rest.partition("/")[0])
    number = _port(port, text) if port else (80 if separator else DEFAULT_PORT)
    return Address(host or DEFAULT_HOST, number)


def _split(hostport: str) -> tuple[str, str]:
    try:
        return str(ipaddress.ip_address(hostport.strip("[]"))), ""
    except ValueError:
        host, _, port = hostport.rpartition(":") if ":" in hostport else (hostport, "", "")
        return host.strip("[]"), port


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ImproperlyConfigured(f"CORRAL_LISTEN={text!r}: {port!r} is not a port (1 to 65535).")
    return int(port)


def check_free(address: Address) -> None:
    """Tries the address before anything is started; raises StartError with the reason."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        raise StartError(_sentence(address, error)) from error


def _sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {address.port} on {address.host} is in use (an Ollama, or another Corral?): "
            "stop it, or set CORRAL_LISTEN to another address."
        )
    return f"Corral cannot listen on {address.host}:{address.port}: {error.strerror or error}."
