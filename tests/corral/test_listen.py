import socket

import pytest
from corral import listen
from corral.listen import Address
from corral.processes import StartError
from django.core.exceptions import ImproperlyConfigured


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 11434),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0", "0.0.0.0", 11434),
        (":8080", "127.0.0.1", 8080),
        ("localhost:", "localhost", 11434),
        ("http://example.org:8080/", "example.org", 8080),
        ("http://example.org", "example.org", 80),
        ("[::1]:8080", "::1", 8080),
        ("::1", "::1", 11434),
        ("[::]", "::", 11434),
    ],
)
def test_an_address_is_read_as_ollamas_users_write_it(text: str, host: str, port: int) -> None:
    assert listen.parse(text) == Address(host, port)


@pytest.mark.parametrize("text", ["localhost:http", "localhost:0", "localhost:65536", "localhost:-1", "https://a:1"])
def test_nonsense_is_refused_by_name(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CORRAL_LISTEN"):
        listen.parse(text)


def test_the_url_is_one_that_works_on_this_machine() -> None:
    assert Address("0.0.0.0", 1).url == "http://127.0.0.1:1"
    assert Address("::", 1).url == "http://[::1]:1"
    assert Address("::1", 1).url == "http://[::1]:1"
    assert Address("example.org", 80).url == "http://example.org:80"


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} on 127.0.0.1 is in use"):
            listen.check_free(Address("127.0.0.1", port))
    listen.check_free(Address("127.0.0.1", port))


def test_an_address_that_is_not_ours_is_said_in_a_sentence() -> None:
    with pytest.raises(StartError, match="Corral cannot listen on 192.0.2.1:8080"):
        listen.check_free(Address("192.0.2.1", 8080))
