"""What the front door does: one host for what API Gateway serves under two.

Documented clients talk to ``http://localhost:3000/api/…`` and ``ws://localhost:3000/ws``; the emulated API Gateway
has one address for REST and one for WebSocket, both with generated ids in them. The door passes everything through
as it came, and keeps API Gateway's limits: 10 MB a request, 128 KB a message.

It also queues. The emulator starts one more Lambda process for every request that finds none idle, so a burst of
200 requests would start 200 processes; only a few are let in at a time.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    TCPConnector,
    WSCloseCode,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_MESSAGE_BYTES = 128 * 1024
MAX_IN_FLIGHT = 4
REQUEST_TIMEOUT_SECONDS = 60.0
RETRY_AFTER_SECONDS = "1"
CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection, not about the request: RFC 9110, section 7.6.1."""
ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What its client adds to a request that lacks it; the door adds nothing."""

log = logging.getLogger("door")


@dataclass(frozen=True)
class Upstream:
    """Where the emulated API Gateway serves the two APIs, without a slash at the end."""

    rest: str
    websocket: str


class Door:
    """Passes requests and sockets on to the emulated API Gateway."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._sockets: set[web.WebSocketResponse] = set()
        self._session: ClientSession

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.cleanup_ctx.append(self._open_session)
        application.on_shutdown.append(self._close_sockets)
        application.router.add_route("GET", "/ws", self.socket)
        application.router.add_route("*", "/{path:.*}", self.request)
        return application

    async def _open_session(self, _: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0, keepalive_timeout=60)
        timeout = ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, connect=5)
        async with ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, skip_auto_headers=ADDED_BY_AIOHTTP
        ) as self._session:
            yield

    async def _close_sockets(self, _: web.Application) -> None:
        for open_socket in list(self._sockets):
            await open_socket.close(code=WSCloseCode.GOING_AWAY, message=b"the engine stops")

    async def request(self, request: web.Request) -> web.StreamResponse:
        """Answer an HTTP request with what the REST API answers."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "Content Too Large", f"A request may have at most {MAX_BODY_BYTES} bytes.")
        url = URL(self._upstream.rest + _raw_path(request), encoded=True)
        try:
            async with (
                self._slots,
                self._session.request(
                    request.method,
                    url,
                    headers=_headers_for_upstream(request),
                    data=body or None,
                    allow_redirects=False,
                ) as answer,
            ):
                return web.Response(
                    status=answer.status,
                    reason=answer.reason,
                    headers=_end_to_end(answer.headers),
                    body=await answer.read(),
                )
        except TimeoutError:
            return problem(504, "Gateway Timeout", "The engine did not answer in time.")
        except ClientError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            return unavailable()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Connect a WebSocket client with the WebSocket API; whichever side ends ends the other."""
        query = request.rel_url.raw_query_string
        url = URL(self._upstream.websocket + (f"?{query}" if query else ""), encoded=True)
        if not web.WebSocketResponse().can_prepare(request):
            return problem(426, "Upgrade Required", "This address speaks WebSocket only.", Upgrade="websocket")
        protocols = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name]
        try:
            # The slot is held while the emulator runs the connect handler, not as long as the socket lives.
            async with self._slots:
                inside = await self._session.ws_connect(
                    url, headers=_headers_for_upstream(request), protocols=protocols, max_msg_size=0
                )
        except WSServerHandshakeError as error:
            return problem(error.status, "Connection Refused", "The engine refused this WebSocket connection.")
        except TimeoutError:
            return problem(504, "Gateway Timeout", "The engine did not answer in time.")
        except ClientError as error:
            # Without the query, which holds a ticket: one that was not used up is good for a minute.
            log.warning("socket %s: %s", request.path, error)
            return unavailable()
        async with inside:
            outside = web.WebSocketResponse(
                protocols=[inside.protocol] if inside.protocol else (),
                max_msg_size=MAX_MESSAGE_BYTES,
                compress=False,
                timeout=2.0,
            )
            await outside.prepare(request)
            self._sockets.add(outside)
            try:
                await _connect(outside, inside)
            finally:
                self._sockets.discard(outside)
        return outside


Socket = web.WebSocketResponse | ClientWebSocketResponse


async def _connect(outside: web.WebSocketResponse, inside: ClientWebSocketResponse) -> None:
    """Copy messages both ways until one side closes, then close the other with the same code."""
    inbound = asyncio.create_task(_copy(outside, inside))
    outbound = asyncio.create_task(_copy(inside, outside))
    done, pending = await asyncio.wait({inbound, outbound}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if outbound in done:
        await outside.close(code=_passable(inside.close_code), message=await outbound)
    else:
        await inside.close(code=_passable(outside.close_code), message=await inbound)


async def _copy(source: Socket, target: Socket) -> bytes:
    """Copy messages until the source closes; returns the reason it gave."""
    while True:
        message = await source.receive()
        # When the target is gone, the task that reads from it ends, and with it this one.
        with contextlib.suppress(ConnectionError):
            match message.type:
                case WSMsgType.TEXT:
                    await target.send_str(message.data)
                case WSMsgType.BINARY:
                    await target.send_bytes(message.data)
                case WSMsgType.CLOSE:
                    return (message.extra or "").encode()
                case _:
                    return b""


def _passable(code: int | None) -> int:
    """Return the close code to pass on; some only describe what happened and may not be sent (RFC 6455, 7.4.1)."""
    if code is None or code in (1005, 1015):
        return WSCloseCode.OK
    if code == WSCloseCode.ABNORMAL_CLOSURE:
        return WSCloseCode.GOING_AWAY
    return code


def _raw_path(request: web.Request) -> str:
    """Return path and query as the client wrote them: decoding and encoding again could change a request's meaning."""
    raw = request.raw_path
    if raw.startswith("/"):
        return raw
    # A client that thinks the door is a proxy names the whole URL.
    return URL(raw, encoded=True).raw_path_qs


def _headers_for_upstream(request: web.Request) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers)
    for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
        headers.popall(name, None)
    if request.remote:
        headers.add("X-Forwarded-For", request.remote)
    headers["X-Forwarded-Proto"] = "http"
    return headers


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for value in headers.getall("Connection", []) for name in value.split(",")}
    dropped = CONNECTION_HEADERS | named
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def unavailable() -> web.Response:
    """Answer when the emulated cloud cannot be reached."""
    return problem(
        503, "Service Unavailable", "The engine cannot be reached; try again.", **{"Retry-After": RETRY_AFTER_SECONDS}
    )


def problem(status: int, title: str, detail: str, **headers: str) -> web.Response:
    """Answer with an error as RFC 9457 writes it."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(
        status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/problem+json", **headers}
    )


async def serve(listeners: Sequence[socket.socket], upstream: Upstream) -> None:
    """Serve on bound sockets until SIGTERM."""
    runner = web.AppRunner(
        Door(upstream).application(), access_log=None, auto_decompress=False, keepalive_timeout=75, shutdown_timeout=1.0
    )
    await runner.setup()
    for listener in listeners:
        await web.SockSite(runner, listener, backlog=1024).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    """Run as a child of the stack, which bound the port and hands its sockets over."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.proxy")
    parser.add_argument("--listen", type=int, nargs="+", required=True, help="file descriptors of bound sockets")
    parser.add_argument("--rest", required=True, help="URL of the REST API's stage")
    parser.add_argument("--websocket", required=True, help="URL of the WebSocket API's stage")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    listeners = [socket.socket(fileno=descriptor) for descriptor in options.listen]
    asyncio.run(serve(listeners, Upstream(options.rest, options.websocket)))


if __name__ == "__main__":
    main()
