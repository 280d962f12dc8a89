"""An engine that answers as a test says, and clients, blocking and asyncio, before it.

Time passes only while a client sleeps. Tests speak to either client alike: what returns an iterator returns a list.
"""

import asyncio
import inspect
import json
from contextlib import aclosing
from threading import Event, Thread
from urllib.parse import parse_qsl, urlsplit

import httpx
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response as Handshake
from websockets.sync.server import serve

from oee import AsyncClient
from oee.protocol import Surroundings

URL = "http://engine.test"
ORDER_ID = "a79522f9-0000-4000-8000-000000000001"
OTHER_ID = "b79522f9-0000-4000-8000-000000000002"
NEVER_SENT = httpx.ConnectError("[Errno 111] Connection refused")
LOST = httpx.ReadError("the answer was lost")
TERMS = {"order_type": "market", "token_in": "SOL", "token_out": "USDC", "amount": "1.5"}

ORDER = {
    "orderId": ORDER_ID,
    "userId": "u1",
    "orderType": "market",
    "side": "sell",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amountIn": 1.5,
    "status": "pending",
    "seq": 1,
    "createdAt": "2026-11-21T12:00:00Z",
    "updatedAt": "2026-11-21T12:00:00Z",
}
ACCEPTED = {"orderId": ORDER_ID, "message": "Order accepted", "status": "pending", "webSocketUrl": ""}
STEPS = ("pending", "routing", "building", "submitted", "confirmed")


def answer(body, status=200, **headers):
    """Return an answer; a text is sent as it is."""
    content = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(status, content=content, headers=headers)


def problem(status, detail="it is refused", errors=None, **headers):
    """Return an error as the engine answers it."""
    body = {"title": "Title", "status": status, "detail": detail, **({"errors": errors} if errors else {})}
    return answer(body, status, **headers)


def event(seq, name=None, order_id=ORDER_ID, **changes):
    """Return an event of an order, by default that of an order with which all goes well."""
    name = name or STEPS[seq - 1]
    status = name if name in (*STEPS, "failed", "cancelled", "expired") else "pending"
    values = {"orderId": order_id, "event": name, "status": status, "seq": seq, "details": {}}
    return {**values, "timestamp": f"2026-11-21T12:00:{seq:02}Z", **changes}


class Engine:
    """Answers HTTP with what is scripted, the last for good; an exception is what the network does instead."""

    def __init__(self, *answers):
        self.requests = []
        self.answers = list(answers)

    def __call__(self, request):
        self.requests.append(request)
        scripted = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(scripted, Exception):
            raise scripted
        return httpx.Response(scripted.status_code, content=scripted.content, headers=scripted.headers)

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]

    @property
    def calls(self):
        return [f"{request.method} {request.url.path}" for request in self.requests]


class Caller:
    """A client of either kind, and how long it has slept."""

    def __init__(self, kind, engine, **options):
        self.slept = []
        self.now = 0.0
        self._streams = []
        self._runner = asyncio.Runner() if kind is AsyncClient else None
        surroundings = Surroundings(now=lambda: self.now, unix_time=lambda: 1_800_000_000.0, chance=lambda: 1.0)
        self.client = kind(
            options.pop("url", URL),
            transport=httpx.MockTransport(engine),
            sleep=self._sleep_async if self._runner else self._sleep,
            surroundings=surroundings,
            **options,
        )

    def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def _sleep_async(self, seconds):
        self._sleep(seconds)

    def __getattr__(self, name):
        """Return a method of the client that does all it does before it returns."""
        return lambda *arguments, **named: self.finish(getattr(self.client, name)(*arguments, **named))

    def finish(self, value):
        """Return what comes of a call: a value, or all that an iterator gives."""
        if inspect.isawaitable(value):
            return self._runner.run(_awaited(value))
        if hasattr(value, "__aiter__"):
            return self._runner.run(_listed(value))
        return list(value) if hasattr(value, "__next__") else value

    def stream(self):
        """Open a stream of the client's."""
        self._streams.append(CallersStream(self, self.client.stream()))
        return self._streams[-1]

    def next(self, stream):
        return self._runner.run(anext(stream)) if self._runner else next(stream)

    def leave_after_one(self, order_id):
        """Watch an order for one event only."""
        if self._runner is None:
            for _ in self.client.watch(order_id):
                break
        else:
            self._runner.run(self._leave_after_one(order_id))

    async def _leave_after_one(self, order_id):
        async with aclosing(self.client.watch(order_id)) as events:
            async for _ in events:
                break

    def close(self):
        for opened in (*(each.stream for each in self._streams), self.client):
            self.finish(opened.aclose() if self._runner else opened.close())
        if self._runner:
            self._runner.close()


class CallersStream:
    """A stream of either kind of client."""

    def __init__(self, caller, stream):
        self._caller = caller
        self.stream = stream

    def follow(self, order_id, **named):
        return self._caller.finish(self.stream.follow(order_id, **named))

    def submit(self, **fields):
        return self._caller.finish(self.stream.submit(**fields))

    def next(self):
        """Return the next event."""
        return self._caller.next(self.stream)

    def rest(self):
        """Return all events until every order has ended."""
        return self._caller.finish(self.stream)


async def _awaited(value):
    return await value


async def _listed(iterator):
    return [item async for item in iterator]


CUT, LISTEN = object(), object()


class Refuse(int):
    """A status that refuses the handshake."""


class SocketServer:
    """A WebSocket server; each connection has a script, the last one for good.

    A script holds, one after the other: an object to send; ``LISTEN`` for a message; a code to close with; ``CUT``. Or
    it is ``Refuse(status)``. At its end the connection stays open until the client closes it.
    """

    def __init__(self, *scripts):
        self.queries = []
        self.heard = []
        self.was_left = Event()
        """Set once a client has closed a connection."""
        self._scripts = list(scripts)

    def __enter__(self):
        self._server = serve(self._connected, "127.0.0.1", 0, process_request=self._let_in)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/ws"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()

    def _let_in(self, connection, request):
        self.queries.append(dict(parse_qsl(urlsplit(request.path).query)))
        connection.script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        if isinstance(connection.script, Refuse):
            return Handshake(int(connection.script), "Refused", Headers({"Content-Length": "0"}), b"")
        return None

    def _connected(self, connection):
        try:
            self._play(connection)
        except ConnectionClosed:
            self.was_left.set()

    def _play(self, connection):
        for part in connection.script:
            if part is CUT:
                connection.socket.close()
                return
            if part is LISTEN:
                self.heard.append(json.loads(connection.recv()))
            elif isinstance(part, int):
                connection.close(part)
                return
            else:
                connection.send(part if isinstance(part, str) else json.dumps(part))
        connection.recv()
