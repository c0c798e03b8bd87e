"""Where the page is served, and what its answers forbid."""

import asyncio
import socket
import threading
import urllib.request

import pytest

from asteroid_stab.demo import server
from asteroid_stab.demo.server import address_of, listen, serve, with_policy
from asteroid_stab.errors import StabError


def test_a_free_port_serves_where_the_usual_one_is_taken(monkeypatch):
    with listen("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with pytest.raises(StabError, match=f"cannot listen on port {taken} of '127.0.0.1': .*; --port 0 takes a free"):
            listen("127.0.0.1", taken)
        monkeypatch.setattr(server, "PORT", taken)
        with listen("127.0.0.1", None) as second:
            assert second.getsockname()[1] not in (0, taken)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", ""])
def test_a_host_that_is_none_is_named(host, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(server.socket, "getaddrinfo", fail)
    with pytest.raises(StabError, match=rf"--host must be an address of this machine, got '{host}' \(Name or"):
        listen(host, 0)


def test_an_address_of_another_machine_is_named():
    with pytest.raises(StabError, match=r"cannot listen on port 0 of '192.0.2.1': .*; --host names another"):
        listen("192.0.2.1", 0)


class Named:
    def __init__(self, *name):
        self.getsockname = lambda: name


def test_the_address_can_be_opened():
    assert address_of(Named("127.0.0.1", 8)) == "http://127.0.0.1:8"
    assert address_of(Named("0.0.0.0", 8)) == "http://127.0.0.1:8"
    assert address_of(Named("::", 8, 0, 0)) == "http://[::1]:8"


async def hello(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_every_answer_forbids_other_machines():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(with_policy(hello)({"type": "http"}, None, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"x-own"] == b"1"
    policy = headers[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self'; ")
    assert "http" not in policy
    assert "*" not in policy


def test_it_serves_until_it_is_asked_to_end():
    pytest.importorskip("uvicorn")
    seen = []

    def ready():
        with urllib.request.urlopen(address_of(listener)) as answer:
            seen.append((answer.read(), answer.headers["content-security-policy"]))
        raise KeyboardInterrupt

    with listen("127.0.0.1", 0) as listener, pytest.raises(KeyboardInterrupt):
        serve(with_policy(hello), listener, ready, lambda: seen.append("end"))
    assert seen == [(b"hello", server.POLICY), "end"]
    assert "demo-server" not in [thread.name for thread in threading.enumerate() if thread.is_alive()]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_cannot_start_ends_with_an_error():
    pytest.importorskip("uvicorn")

    async def broken(scope, receive, send):
        await send({"type": "lifespan.startup.failed", "message": "no start"})

    seen = []
    with listen("127.0.0.1", 0) as listener, pytest.raises(StabError, match="the page cannot be served: uvicorn"):
        serve(broken, listener, lambda: seen.append("ready"), lambda: seen.append("end"))
    assert seen == ["end"]
