"""What stands before every request: who may ask, and what browsers may do with the answer.

A page of the web cannot talk to this server, though it runs in the same browser: it does not know
the key, which is in every address; it has another name (Host) and another Origin; it may not set
the header that changes need; and it is never told by CORS that it may read an answer.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
READING = ("GET", "HEAD")
CHANGES = b"x-facerestore"  # the header that changes need; any value
MOST_BYTES = 16 << 20  # of a request, but for films
SELF_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
)
ALONE = f"{SELF_ONLY}; frame-ancestors 'none'"
FRAMED = f"{SELF_ONLY}; frame-ancestors 'self'"
# Of a file from the folder, whoever wrote it: it gets no origin, so that it can ask us for nothing
# but films to play, and nobody else for anything.
REPORT = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; media-src 'self' data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": ALONE,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address holds the key
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """Who is let in.

    key:   first part of every path;  host: the name or number given with --host
    """

    key: str
    host: str

    @property
    def private(self) -> bool:
        """Whether only this machine can ask."""
        return _bracketed(self.host) in LOOPBACK or _is_loopback(self.host)

    def knows(self, named: str) -> bool:
        """Whether a Host header names us: a name that somebody else can let point here does not."""
        name = named.rpartition(":")[0] if named.rpartition(":")[2].isdigit() else named
        if name.lower() in (*LOOPBACK, _bracketed(self.host).lower()):
            return True
        return not self.private and _is_number(name)  # --host 0.0.0.0: any of this machine's

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence for a request that is not let in, else None."""
        fields: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name, []).append(value)
        hosts = [value.decode("latin-1") for value in fields.get(b"host", [])]
        if len(hosts) != 1 or not self.knows(hosts[0]):
            return 421, "this server goes by another name; open the address that it printed"
        key = scope["path"].removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(key.encode(), self.key.encode()):
            return 404, "open the address that facerestore serve printed; each start has a new one"
        if scope["method"] in READING:
            return None
        if CHANGES not in fields or fields.get(b"origin") != [f"http://{hosts[0]}".encode()]:
            return 403, "changes are only taken from this server's own page"
        length = b"".join(fields.get(b"content-length", [b""])).decode("latin-1")
        if not length.isdigit() and scope["method"] != "DELETE":
            return 411, "the request does not say how long it is"
        if length and int(length) > MOST_BYTES and scope["method"] != "PUT":
            return 413, "too large"
        return None


class Guard:
    """The middleware that asks the door, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                ours = ((n.encode(), v.encode()) for n, v in HEADERS.items())
                more = [(name, value) for name, value in ours if name not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        refusal = self.door.refusal(scope)
        if refusal is None:
            await self.app({**scope, "root_path": f"/{self.door.key}"}, receive, send_with_headers)
            return
        status, sentence = refusal
        body = json.dumps({"message": sentence}).encode()
        kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send_with_headers(
            {"type": "http.response.start", "status": status, "headers": [*kind]}
        )
        await send({"type": "http.response.body", "body": body})


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_number(host) and ipaddress.ip_address(host.strip("[]")).is_loopback
