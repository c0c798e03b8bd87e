"""Serves the page until the program is asked to end."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from asteroid_stab.errors import StabError

PORT = 7860
"""The port where none is asked for; where it is taken, a free one serves."""

_POLL_S = 0.2
_CLOSE_S = 2
_JOIN_S = 8.0
# The browser asks no other machine for anything, no matter which script of the page wants it.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; form-action 'self'; frame-ancestors 'self'"
)

App = Callable[[Any, Any, Any], Awaitable[None]]


def listen(host: str, port: int | None) -> socket.socket:
    """Opens the socket that the page is served on.

    Args:
        host: address or name of this machine.
        port: the port; 0 takes a free one, None :data:`PORT` or a free one.

    Raises:
        StabError: this machine has no such address, or the port is taken or not allowed.
    """
    try:
        wanted = PORT if port is None else port
        family, _, _, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:
        raise StabError(f"--host must be an address of this machine, got {host!r} ({_reason(error)})") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        if port is None and error.errno == errno.EADDRINUSE:
            return listen(host, 0)
        mend = (
            "--port 0 takes a free port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host names another"
        )
        raise StabError(f"cannot listen on port {wanted} of {host!r}: {_reason(error)}; {mend}") from error
    return listener


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def address_of(listener: socket.socket) -> str:
    """The address to open in a browser."""
    host, port = str(listener.getsockname()[0]), int(listener.getsockname()[1])
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # of all addresses, one that this machine can open
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


def with_policy(app: App) -> App:
    """The same application, whose answers forbid the browser to load anything from elsewhere."""
    header = (b"content-security-policy", POLICY.encode())

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await app(scope, receive, send_with if scope["type"] == "http" else send)

    return answer


def serve(app: App, listener: socket.socket, ready: Callable[[], object], end: Callable[[], object]) -> None:
    """Serves until a signal ends the program, which raises in the main thread.

    Args:
        app: the ASGI application.
        listener: the socket, from :func:`listen`.
        ready: called when the page can be opened.
        end: called before the server is closed.

    Raises:
        StabError: the server cannot start.
    """
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_CLOSE_S, ws="none")
    server, closed = uvicorn.Server(config), threading.Event()

    def run() -> None:
        try:
            with suppress(SystemExit):  # so it ends where it cannot start
                server.run([listener])
        finally:
            closed.set()

    # An event is waited for, and not the thread: Python 3.11 takes a thread for ended whose join a signal has ended.
    threading.Thread(target=run, name="demo-server", daemon=True).start()
    try:
        while not (server.started or closed.is_set()):
            closed.wait(_POLL_S / 4)
        if not server.started:
            raise StabError("the page cannot be served: uvicorn, its server, did not start and has logged the reason")
        ready()
        while not closed.wait(_POLL_S):  # without a limit, a signal would wait on some systems
            pass
    finally:
        end()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a page that is still open is cut off: no error
        server.should_exit = True
        closed.wait(_JOIN_S)
