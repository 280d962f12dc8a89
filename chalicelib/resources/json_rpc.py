"""JSON-RPC 2.0 over HTTP, as Solana's nodes speak it: several endpoints, of which the first that works is asked.

An endpoint that fails, or that limits our rate, rests for a while, and the next one is asked at once. That is safe
because whatever is asked here may be asked twice: it reads, or it sends a signed transaction, whose bytes land at most
once. What waits is the caller's business, not ours: when no endpoint is left, it is told so at once, and until when.
What one node may not know (that something is not there) can be asked of all of them.

An endpoint's URL may hold an API key, in its path, its query or before its host. An error or a log names an endpoint
by its host only, and the rest is concealed, because a node's own message may repeat it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from chalicelib.clock import Clock
from chalicelib.exact_json import decode_json, encode_json
from chalicelib.observability import conceal, in_this_context, logger, redacted

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

CONNECT_SECONDS = 1.0
READ_SECONDS = 2.0
"""How long an endpoint may keep silent."""
CALL_SECONDS = 3.0
"""How long one call may take with all the endpoints that it tries: functions have timeouts of their own."""
REST_SECONDS = 1.0
"""How long an endpoint rests after its first failure; each further one in a row doubles it."""
LONGEST_REST_SECONDS = 2.0
"""Less than an order's tries take: where there is one endpoint only, the last of them must ask it again."""
RATE_LIMIT_SECONDS = 2.0
"""How long it rests when it limits our rate and does not say for how long."""
LONGEST_RATE_LIMIT_SECONDS = 600.0
"""A header that is wrong must not take an endpoint away for a process's life."""
LARGEST_QUESTION = 50 * 1024
"""Bytes that a node takes at most: ``MAX_REQUEST_BODY_SIZE`` in Agave's ``rpc/src/rpc.rs``."""
LARGEST_ANSWER = 32 * 1024 * 1024
CHUNK = 64 * 1024

# Codes from Agave's rpc-client-api/src/custom_error.rs, and those of JSON-RPC 2.0, section 5.1.
NODE_IS_AT_FAULT = frozenset({-32005, -32016, -32603})
"""It is behind the cluster, has not reached a slot, or broke down."""
ANOTHER_NODE_MAY = frozenset({-32600, -32601, -32010, -32011, -32012, -32014})
"""It serves no batches, not this method, this index or history, or not yet: no reason not to ask it other things."""
RATE_LIMIT_CODES = frozenset({429, -32429})
RATE_LIMIT_WORDS = ("rate limit", "too many requests", "request limit")
"""Providers have codes of their own for it, some of which mean something else on a node; their words are alike."""


class RpcUnavailable(Exception):
    """No endpoint answered; ``until`` is when the first of them is asked again."""

    def __init__(self, reason: str, until: datetime) -> None:
        super().__init__(f"{reason}; asked again from {until:%H:%M:%S} UTC")
        self.until = until


class RpcRefused(Exception):
    """A node's own error: another try would be answered alike."""

    def __init__(self, method: str, code: int, message: str, data: Any) -> None:
        super().__init__(f"{method} was refused: {message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class WrongNode(Exception):
    """A node that must not be believed, whatever else it answers."""


class Call(NamedTuple, Generic[T]):
    """A question, and how its result is read; ``read`` raises ValueError when a node must not have given it."""

    method: str
    params: list[Any]
    read: Callable[[Any], T]


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str = ""
    data: Any = None


class _Response(msgspec.Struct, frozen=True):
    """One answer; ``id`` is null where the node could not tell which question it refuses."""

    id: Any = None
    result: Any = msgspec.UNSET
    error: _Error | None = None


class _EndpointFailed(Exception):
    """An endpoint is of no use now; ``seconds`` is for how long it wants to be left alone, if it says so."""

    def __init__(self, reason: str, *, limited: bool = False, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.limited = limited
        self.seconds = seconds


class _Endpoint:
    """Where a node is reached, and whether it is worth asking."""

    def __init__(self, url: str, number: int) -> None:
        address = _address(url)
        if address is None:
            # Not the URL: what cannot be read may be a key in the wrong place.
            raise ValueError(f"RPC endpoint {number} is not a URL such as https://api.devnet.solana.com")
        conceal(_keys_of(url))
        self.name, self.url, credentials = address
        self.headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if credentials:
            from urllib3.util import make_headers

            self.headers |= make_headers(basic_auth=credentials)
        self.is_known = False
        """Whether it has said who it is."""
        self.rests_until = 0.0
        self.reason = ""
        self._failures = 0

    def rest(self, failed: _EndpointFailed, now: float) -> None:
        """Leave it alone for a while."""
        if failed.limited:
            asked_for = RATE_LIMIT_SECONDS if failed.seconds is None else failed.seconds
            seconds = min(asked_for, LONGEST_RATE_LIMIT_SECONDS)
        else:
            seconds = min(REST_SECONDS * 2 ** min(self._failures, 10), LONGEST_REST_SECONDS)
            self._failures += 1
        self.rests_until = now + seconds
        self.reason = f"{self.name}: {failed}"
        logger.warning(f"a Solana RPC endpoint rests for {seconds:.1f} s: {self.reason}")

    def works(self) -> None:
        """Forget how it failed."""
        self._failures = 0
        self.reason = ""


class JsonRpc:
    """Asks nodes. Threads may share it."""

    def __init__(self, urls: Sequence[str], clock: Clock, identity: Call[Any] | None = None) -> None:
        """Take the endpoints in the order of preference; nothing is opened.

        Each is asked for its ``identity`` once, along with the first question that it gets. One for which ``read``
        raises ``WrongNode`` is treated as one that fails.

        Raises:
            ValueError: there is none, or one is not an http or https URL.
        """
        if not urls:
            raise ValueError("an RPC endpoint is needed, such as https://api.devnet.solana.com")
        from urllib3 import PoolManager

        # It would write each request's path, and so the key in it.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self._endpoints = [_Endpoint(url, number) for number, url in enumerate(urls, start=1)]
        self._http = PoolManager(maxsize=16)
        self._clock = clock
        self._identity = identity
        self._ids = itertools.count(1)
        self._counting = Lock()
        self.round_trips = 0
        """How many requests were sent, whatever came of them."""

    @property
    def endpoints(self) -> int:
        """How many there are."""
        return len(self._endpoints)

    def ask(self, calls: Sequence[Call[T]]) -> list[T]:
        """Ask all of it in one request, unless it is too large for one.

        Raises:
            RpcUnavailable: no endpoint answers now.
            RpcRefused: a node refuses one of them.
        """
        answers: list[T] = []
        for answer in self.ask_each(calls):
            if isinstance(answer, RpcRefused):
                raise answer
            answers.append(answer)
        return answers

    def ask_each(self, calls: Sequence[Call[T]]) -> list[T | RpcRefused]:
        """Ask all of it like ``ask``; of those that are refused the refusals are returned.

        Raises:
            RpcUnavailable: no endpoint answers now.
        """
        deadline = self._clock.seconds() + CALL_SECONDS
        return [answer for post in self._posts(calls) for answer in self._ask_first(post, deadline)]

    def ask_every_endpoint(self, calls: Sequence[Call[T]]) -> list[list[T | RpcRefused]]:
        """Ask all of it of all endpoints, side by side; return what each answered of those that answer now.

        Of those calls that an endpoint refuses its refusals are returned.

        Raises:
            RpcUnavailable: no endpoint answers now.
        """
        deadline = self._clock.seconds() + CALL_SECONDS
        posts = list(self._posts(calls))

        def ask(endpoint: _Endpoint) -> list[T | RpcRefused] | None:
            answered: list[T | RpcRefused] = []
            for post in posts:
                answers = self._ask_one(endpoint, post, deadline)
                if answers is None:
                    return None
                answered += answers
            return answered

        with ThreadPoolExecutor(len(self._endpoints), thread_name_prefix="rpc") as pool:
            answers = [answered for answered in pool.map(in_this_context(ask), self._endpoints) if answered is not None]
        if not answers:
            raise self._unavailable()
        return answers

    def _posts(self, calls: Sequence[Call[T]]) -> Iterator[list[_Question[T]]]:
        return _posts([_Question(next(self._ids), call) for call in calls])

    def _ask_first(self, questions: list[_Question[T]], deadline: float) -> list[T | RpcRefused]:
        """Return the answers of the first endpoint that has them."""
        refused: list[T | RpcRefused] | None = None
        for endpoint in self._endpoints:
            answers = self._ask_one(endpoint, questions, deadline)
            if answers is None:
                continue
            if not any(isinstance(answer, RpcRefused) and answer.code in ANOTHER_NODE_MAY for answer in answers):
                return answers
            refused = refused or answers
        if refused is not None:
            return refused
        raise self._unavailable()

    def _ask_one(
        self, endpoint: _Endpoint, questions: list[_Question[T]], deadline: float
    ) -> list[T | RpcRefused] | None:
        """Return an endpoint's answers; None when it rests, fails (so that it rests from now on) or time is over."""
        now = self._clock.seconds()
        if now >= deadline or now < endpoint.rests_until:
            return None
        try:
            answers = self._ask_known(endpoint, questions, deadline)
        except _EndpointFailed as failed:
            endpoint.rest(failed, self._clock.seconds())
            return None
        endpoint.works()
        return answers

    def _ask_known(self, endpoint: _Endpoint, questions: list[_Question[T]], deadline: float) -> list[T | RpcRefused]:
        if self._identity is None or endpoint.is_known:
            return _answers(self._post(endpoint, _body(questions), deadline), questions)
        asked: list[_Question[Any]] = [_Question(next(self._ids), self._identity), *questions]
        identity, *answers = _answers(self._post(endpoint, _body(asked), deadline), asked)
        if isinstance(identity, RpcRefused):
            raise _EndpointFailed(str(identity))
        endpoint.is_known = True
        return answers

    def _unavailable(self) -> RpcUnavailable:
        now = self._clock.seconds()
        seconds = max(min(endpoint.rests_until for endpoint in self._endpoints) - now, 0.0)
        reasons = "; ".join(endpoint.reason for endpoint in self._endpoints if endpoint.reason)
        until = self._clock.now() + timedelta(seconds=seconds)
        return RpcUnavailable(f"no Solana RPC endpoint answers: {reasons}", until)

    def _post(self, endpoint: _Endpoint, body: bytes, deadline: float) -> bytes:
        from urllib3.exceptions import HTTPError, ProtocolError

        try:
            try:
                return self._exchange(endpoint, body, deadline)
            except ProtocolError:
                # A connection that was kept may have died unseen while the process was frozen: that is not the
                # endpoint's fault, and to ask twice is safe.
                return self._exchange(endpoint, body, deadline)
        except HTTPError as error:
            # Its text may repeat the URL.
            reason = type(error).__name__
        raise _EndpointFailed(reason)

    def _exchange(self, endpoint: _Endpoint, body: bytes, deadline: float) -> bytes:
        from urllib3 import Timeout

        left = deadline - self._clock.seconds()
        if left <= 0:
            raise _EndpointFailed(f"no answer within {CALL_SECONDS:g} s")
        with self._counting:
            self.round_trips += 1
        response = self._http.request(
            "POST",
            endpoint.url,
            body=body,
            headers=endpoint.headers,
            timeout=Timeout(connect=min(CONNECT_SECONDS, left), read=min(READ_SECONDS, left)),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            self._check_status(response)
            text = b"".join(self._chunks(response, deadline))
        except BaseException:
            # What is left of the answer must not be taken for the next one.
            response.close()
            raise
        response.release_conn()
        return text

    def _check_status(self, response: BaseHTTPResponse) -> None:
        if response.status == 429:
            seconds = _retry_after(response.headers.get("Retry-After", ""), self._clock.now())
            raise _EndpointFailed("it limits our rate (429)", limited=True, seconds=seconds)
        if response.status != 200:
            raise _EndpointFailed(f"HTTP {response.status}")

    def _chunks(self, response: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        """Yield the answer as it comes; one that comes in drops has no more time than another."""
        size = 0
        while chunk := response.read1(CHUNK):
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise _EndpointFailed(f"its answer has more than {LARGEST_ANSWER} bytes")
            if self._clock.seconds() >= deadline:
                raise _EndpointFailed(f"no whole answer within {CALL_SECONDS:g} s")
            yield chunk


class _Question(NamedTuple, Generic[T]):
    id: int
    call: Call[T]

    @property
    def request(self) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self.id, "method": self.call.method, "params": self.call.params}

    def read(self, response: _Response) -> T | RpcRefused:
        if response.error is not None:
            return _refusal(self.call.method, response.error)
        try:
            return self.call.read(response.result)
        except WrongNode as wrong:
            raise _EndpointFailed(str(wrong)) from None
        except ValueError:
            raise _EndpointFailed(f"its answer to {self.call.method} makes no sense") from None


def _posts(questions: list[_Question[T]]) -> Iterator[list[_Question[T]]]:
    """Yield the questions in as many requests as they need."""
    post: list[_Question[T]] = []
    size = 2
    for question in questions:
        length = len(encode_json(question.request)) + 1
        if post and size + length > LARGEST_QUESTION:
            yield post
            post, size = [], 2
        post.append(question)
        size += length
    if post:
        yield post


def _body(questions: list[_Question[T]]) -> bytes:
    requests = [question.request for question in questions]
    return encode_json(requests if len(requests) > 1 else requests[0])


def _answers(body: bytes, questions: list[_Question[T]]) -> list[T | RpcRefused]:
    """Read the answers in the order of the questions; they may come in any (JSON-RPC 2.0, section 6)."""
    try:
        responses = msgspec.convert(decode_json(body), _Response | list[_Response])
    except ValueError:
        raise _EndpointFailed("its answer is not JSON-RPC") from None
    if isinstance(responses, _Response):
        if responses.error is not None and responses.id is None:
            # It refuses the request as a whole.
            return [_refusal(question.call.method, responses.error) for question in questions]
        responses = [responses]
    by_id = {response.id: response for response in responses if isinstance(response.id, int)}
    if by_id.keys() != {question.id for question in questions} or len(responses) != len(questions):
        raise _EndpointFailed("it answered something else than it was asked")
    return [question.read(by_id[question.id]) for question in questions]


def _refusal(method: str, error: _Error) -> RpcRefused:
    message = redacted(error.message)
    if error.code in RATE_LIMIT_CODES or any(words in message.lower() for words in RATE_LIMIT_WORDS):
        raise _EndpointFailed(f"it limits our rate ({error.code})", limited=True)
    if error.code in NODE_IS_AT_FAULT:
        raise _EndpointFailed(f"{message} ({error.code})")
    return RpcRefused(method, error.code, message, error.data)


def _retry_after(text: str, now: datetime) -> float | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110, section 10.2.3), as seconds from now."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds(), 0.0)


def _address(url: str) -> tuple[str, str, str] | None:
    """Split a URL into what names it, where it leads, and user and password; None if it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    credentials, _, place = parts.netloc.rpartition("@")
    return f"{host}:{port}" if port else host, parts._replace(netloc=place, fragment="").geturl(), unquote(credentials)


def _keys_of(url: str) -> set[str]:
    """Return all of a URL that may be a key."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    values = {value for _, value in parse_qsl(parts.query)}
    words = {*parts.path.split("/"), *credentials.split(":"), *values, credentials, parts.query}
    return {*words, *map(unquote, words)} - {""}
