"""`facerestore serve`: a socket, the application on it, and a clean end."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from facerestore.errors import BadInputError, ResourceError, UsageError
from facerestore.serve.guard import Door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from facerestore.options import RestoreOptions, Tools

KEY_BYTES = 16
ENDING_SECONDS = 1  # that an answer under way may still take


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    opened: Callable[[str], None],
    load: Callable[[RestoreOptions], Tools] | None = None,
) -> None:
    """Serve the films of a folder until interrupted (SIGINT, SIGTERM).

    port:   0 = any that is free;  opened: told the address once it is open
    load:   makes the model's tools, None = `load_tools`
    What is restored then is interrupted, and what is finished is kept.
    Raises UsageError, BadInputError or ResourceError where it cannot begin.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise BadInputError(f"{folder}: is not a folder; name one that holds films")
    try:
        import uvicorn

        from facerestore.serve.app import Desk, make_app
    except ImportError as error:
        if error.name and error.name.startswith("facerestore"):
            raise
        raise UsageError("serve needs FastAPI; pip install 'facerestore[serve]'") from None
    from facerestore.options import load_tools
    from facerestore.serve.helper import Helper
    from facerestore.serve.jobs import Queue
    from facerestore.serve.scratch import scratch_in

    door = Door(secrets.token_urlsafe(KEY_BYTES), host)
    with (
        listening(host, port) as listener,
        scratch_in(root) as scratch,
        closing(Helper()) as looker,
        closing(Helper()) as cutter,
        closing(Helper()) as copier,
        closing(Queue(copier, load=load or load_tools)) as queue,
    ):
        app = make_app(Desk(root, scratch, looker, cutter, queue), door)
        config = uvicorn.Config(
            app,
            log_level="critical",  # it complains of answers that a Ctrl-C breaks off
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=ENDING_SECONDS,
        )
        with suppress(KeyboardInterrupt):  # uvicorn passes the signal on when it has ended
            server = uvicorn.Server(config)
            server.startup = partial(_started, server.startup, opened, address_of(door, listener))
            server.run(sockets=[listener])


async def _started(
    startup: Callable[..., Awaitable[None]],
    opened: Callable[[str], None],
    address: str,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Tell of the server when it answers and Ctrl-C is uvicorn's; before, Python may lose one."""
    await startup(sockets=sockets)
    opened(address)


def address_of(door: Door, listener: socket.socket) -> str:
    """What a browser on this machine opens."""
    host, port = door.host, listener.getsockname()[1]
    if host in ("0.0.0.0", "::"):  # everywhere, thus here as well
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{door.key}/"


def listening(host: str, port: int) -> socket.socket:
    """An open socket; raises UsageError where there is none to have."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except socket.gaierror:
        raise UsageError(f"--host {host}: is not known here; leave it out") from None
    except PermissionError:
        raise UsageError(f"--port {port}: may not be used; choose one above 1023") from None
    except OSError as error:
        if port == 0:
            raise ResourceError(f"{host}: cannot be listened at ({error.strerror})") from None
        raise UsageError(
            f"--port {port}: cannot be had ({error.strerror}); choose another one, or 0 for any"
        ) from None
