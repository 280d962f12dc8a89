"""A node of the tests' Solana: JSON-RPC over HTTP on this machine, in the shapes that real nodes answer in.

Several nodes may serve one ledger, each with troubles of its own; a test sets them while the node runs. What happens to
transactions behind the node is the ledger's: see tests/solana/faults.py. A node is strict where real ones have a
default that loses something: accounts are only told in base64, transactions only taken in base64.
"""

import base64
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from solders.account import Account
from solders.message import MessageV0
from solders.pubkey import Pubkey

from tests.solana.accounts import Mint, TokenAccount
from tests.solana.ledger import STATUS_CACHE_BLOCKS, Balances, Landing, Ledger, Result, TransactionRefused

_INVALID_REQUEST, _METHOD_NOT_FOUND, _INVALID_PARAMS = -32600, -32601, -32602
_PREFLIGHT_FAILURE, _SIGNATURE_FAILURE, _UNSUPPORTED_VERSION = -32002, -32003, -32015
_COMMITMENTS = ("processed", "confirmed", "finalized")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SLOTS_AN_EPOCH = 432_000


class RpcError(Exception):
    """The node answers a call with an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def as_json(self) -> dict[str, Any]:
        error = {"code": self.code, "message": str(self)}
        return error if self.data is None else {**error, "data": self.data}


class RpcServer:
    """One node."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.posts: list[list[str]] = []
        """The methods of each request, in the order in which they came, those that were troubled included."""
        # What may be wrong with it.
        self.is_down = False
        """Every connection is closed without an answer."""
        self.hangs = False
        """Nothing is answered until the node is closed."""
        self.rate_limited = 0
        """How many requests are still refused with 429."""
        self.retry_after = "1"
        """What such a refusal says in its Retry-After."""
        self.lost_answers = 0
        """How many transactions are still taken without telling so: the connection is closed."""
        self.blocks_behind = 0
        """How much older than the chain is what it says about heights and statuses."""
        self.forked_at: int | None = None
        """The height from which on it follows a fork that the cluster has dropped: it finalizes nothing more."""
        self.first_height = 0
        """It has no earlier block, be it that they were deleted or that it was started there."""
        self.refuses_landed = False
        """Whether a transaction that landed is refused as AlreadyProcessed even when no preflight is asked for."""
        self.refusals: deque[tuple[str, RpcError]] = deque()
        """Errors for coming calls: each for the next call of its method, when it is the first here."""
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.node = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="node", daemon=True)
        self._methods: dict[str, Callable[..., Any]] = {
            "getAccountInfo": self._account_info,
            "getBalance": self._balance,
            "getBlockHeight": self._block_height,
            "getEpochInfo": self._epoch_info,
            "getFirstAvailableBlock": lambda: self.ledger.slots.get(self.first_height, 0),
            "getGenesisHash": lambda: self.ledger.genesis_hash,
            "getHealth": lambda: "ok",
            "getLatestBlockhash": self._latest_blockhash,
            "getMinimumBalanceForRentExemption": self._minimum_balance,
            "getMultipleAccounts": self._multiple_accounts,
            "getProgramAccounts": self._program_accounts,
            "getRecentPrioritizationFees": self._prioritization_fees,
            "getSignatureStatuses": self._signature_statuses,
            "getSlot": self._slot,
            "getTransaction": self._transaction,
            "requestAirdrop": self._airdrop,
            "sendTransaction": self._send,
            "simulateTransaction": self._simulate,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def calls(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(method for post in self.posts for method in post)

    def __enter__(self) -> "RpcServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def counted(self) -> Iterator[list[list[str]]]:
        """Give a list that has the requests of the context, once it is over: the methods of each."""
        first = len(self.posts)
        requests: list[list[str]] = []
        yield requests
        requests.extend(self.posts[first:])

    # Requests

    def answer(self, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """Answer one HTTP request: status, headers and body, or None for closing the connection."""
        request = json.loads(body)
        calls = request if isinstance(request, list) else [request]
        self.posts.append([call.get("method", "") for call in calls])
        if self.hangs:
            self._closing.wait()
        if self.is_down or self.hangs:
            return None
        if self.rate_limited:
            self.rate_limited -= 1
            error = {"code": 429, "message": "Too many requests for a specific RPC call"}
            refusal = {"jsonrpc": "2.0", "error": error, "id": calls[0].get("id")}
            return 429, {"Retry-After": self.retry_after}, json.dumps(refusal).encode()
        with self.ledger.lock:
            answers = [self._call(call) for call in calls]
        if self.lost_answers and any(call["method"] == "sendTransaction" for call in calls):
            self.lost_answers -= 1
            return None
        return 200, {}, json.dumps(answers if isinstance(request, list) else answers[0]).encode()

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        answer = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            return {**answer, "result": self._result(call)}
        except RpcError as error:
            return {**answer, "error": error.as_json()}

    def _result(self, call: dict[str, Any]) -> Any:
        if call.get("jsonrpc") != "2.0" or "id" not in call:
            raise RpcError(_INVALID_REQUEST, "Invalid request")
        name = call["method"]
        if self.refusals and self.refusals[0][0] == name:
            raise self.refusals.popleft()[1]
        method = self._methods.get(name)
        if method is None:
            raise RpcError(_METHOD_NOT_FOUND, "Method not found")
        return method(*call.get("params", []))

    # What it knows of blocks

    def _height(self, config: dict[str, Any] | None) -> int:
        """The newest height at the commitment that is asked for, as far as this node has got."""
        commitment = (config or {}).get("commitment", "finalized")
        if commitment not in _COMMITMENTS:
            raise RpcError(_INVALID_PARAMS, f"Invalid params: unknown variant `{commitment}`")
        newest = self.ledger.height - self.blocks_behind
        lag = {"processed": 0, "confirmed": self.ledger.confirmed_after, "finalized": self.ledger.finalized_after}
        if self.forked_at is not None and commitment != "processed":
            newest = min(newest, self.forked_at)
        return max(self.ledger.first_height, newest - lag[commitment])

    def _context(self, config: dict[str, Any] | None) -> dict[str, Any]:
        return {"apiVersion": "3.1.0", "slot": self.ledger.slots[self._height(config)]}

    def _in_context(self, config: dict[str, Any] | None, value: Any) -> dict[str, Any]:
        return {"context": self._context(config), "value": value}

    def _block_height(self, config: dict[str, Any] | None = None) -> int:
        return self._height(config)

    def _slot(self, config: dict[str, Any] | None = None) -> int:
        return self.ledger.slots[self._height(config)]

    def _epoch_info(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        slot = self._slot(config)
        return {
            "absoluteSlot": slot,
            "blockHeight": self._height(config),
            "epoch": self.ledger.epoch,
            "slotIndex": slot % _SLOTS_AN_EPOCH,
            "slotsInEpoch": _SLOTS_AN_EPOCH,
            "transactionCount": len(self.ledger.landings),
        }

    def _latest_blockhash(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._in_context(config, self._blockhash(self._height(config)))

    def _blockhash(self, height: int) -> dict[str, Any]:
        blockhash = self.ledger.blockhash(height)
        return {
            "blockhash": str(blockhash),
            "lastValidBlockHeight": self.ledger.last_valid_height(blockhash),
        }

    def _prioritization_fees(self, addresses: list[str] | None = None) -> list[dict[str, int]]:
        if len(addresses or []) > 128:
            raise RpcError(_INVALID_PARAMS, "Too many inputs provided; max 128")
        newest = self.ledger.slot
        fees = self.ledger.priority_fees
        return [{"slot": newest - len(fees) + 1 + place, "prioritizationFee": fee} for place, fee in enumerate(fees)]

    # Accounts

    def _account_info(self, address: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._in_context(config, self._told(_pubkey(address), config))

    def _balance(self, address: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._in_context(config, self.ledger.lamports(_pubkey(address)))

    def _minimum_balance(self, size: int, _: dict[str, Any] | None = None) -> int:
        return self.ledger.svm.minimum_balance_for_rent_exemption(size)

    def _multiple_accounts(self, addresses: list[str], config: dict[str, Any] | None = None) -> dict[str, Any]:
        if len(addresses) > 100:
            raise RpcError(_INVALID_PARAMS, "Too many inputs provided; max 100")
        return self._in_context(config, [self._told(_pubkey(address), config) for address in addresses])

    def _told(self, address: Pubkey, config: dict[str, Any] | None) -> dict[str, Any] | None:
        account = self.ledger.account(address)
        return _account(account, config) if account else None

    def _program_accounts(self, program: str, config: dict[str, Any] | None = None) -> Any:
        filters = (config or {}).get("filters", [])
        if len(filters) > 4:
            raise RpcError(_INVALID_PARAMS, "Too many filters provided; max 4")
        found = [
            {"pubkey": str(address), "account": _account(account, config)}
            for address, account in sorted(self.ledger.svm.get_program_accounts(_pubkey(program)), key=str)
            if account.lamports and all(_fits(account.data, one) for one in filters)
        ]
        return self._in_context(config, found) if (config or {}).get("withContext") else found

    # Transactions

    def _send(self, encoded: str, config: dict[str, Any] | None = None) -> str:
        payload = _payload(encoded, config)
        skips_preflight = (config or {}).get("skipPreflight", False)
        try:
            if not skips_preflight:
                self._check_before_sending(payload, config)
            sent = self.ledger.send(payload)
        except TransactionRefused as error:
            raise _refused(error) from error
        if self.refuses_landed and sent.signature in self.ledger.landings:
            raise _preflight_failure(Result("AlreadyProcessed", 0, 0, ()))
        return sent.signature

    def _check_before_sending(self, payload: bytes, config: dict[str, Any] | None) -> None:
        result = self._simulated(payload, {**(config or {}), "sigVerify": True})
        if result.error is not None:
            raise _preflight_failure(result)

    def _simulate(self, encoded: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        config = config or {}
        payload = _payload(encoded, config)
        if config.get("sigVerify") and config.get("replaceRecentBlockhash"):
            raise RpcError(_INVALID_PARAMS, "sigVerify may not be used with replaceRecentBlockhash")
        try:
            result = self._simulated(payload, config)
        except TransactionRefused as error:
            raise _refused(error) from error
        value = _simulation(result)
        if config.get("replaceRecentBlockhash"):
            value["replacementBlockhash"] = self._blockhash(self._height(config))
        return self._in_context(config, value)

    def _simulated(self, payload: bytes, config: dict[str, Any]) -> Result:
        transaction = self.ledger.read(payload)
        if config.get("sigVerify") and not all(transaction.verify_with_results()):
            raise TransactionRefused("Transaction signature verification failure")
        if not config.get("replaceRecentBlockhash"):
            if str(transaction.signatures[0]) in self.ledger.landings:
                return Result("AlreadyProcessed", 0, 0, ())
            last_valid = self.ledger.last_valid_height(transaction.message.recent_blockhash)
            if last_valid is None or last_valid < self.ledger.height:
                return Result("BlockhashNotFound", 0, 0, ())
        return self.ledger.simulate(payload)

    def _signature_statuses(self, signatures: list[str], config: dict[str, Any] | None = None) -> dict[str, Any]:
        if len(signatures) > 256:
            raise RpcError(_INVALID_PARAMS, "Too many inputs provided; max 256")
        searches = (config or {}).get("searchTransactionHistory", False)
        statuses = [self._status(signature, searches=searches) for signature in signatures]
        return self._in_context({"commitment": "processed"}, statuses)

    def _status(self, signature: str, *, searches: bool) -> dict[str, Any] | None:
        landing = self._seen(signature)
        if landing is None:
            return None
        depth = self._height({"commitment": "processed"}) - landing.height
        if depth > STATUS_CACHE_BLOCKS and not searches:
            return None
        confirmation = self._confirmation(landing)
        error = landing.result.error
        return {
            "confirmationStatus": confirmation,
            "confirmations": None if confirmation == "finalized" else depth,
            "err": error,
            "slot": landing.slot,
            "status": {"Ok": None} if error is None else {"Err": error},
        }

    def _seen(self, signature: str) -> Landing | None:
        landing = self.ledger.landings.get(signature)
        if landing is None or not self.first_height <= landing.height <= self._height({"commitment": "processed"}):
            return None
        return None if self.forked_at is not None and landing.height > self.forked_at else landing

    def _confirmation(self, landing: Landing) -> str:
        return self.ledger.confirmation(landing, self._height({"commitment": "processed"}))

    def _transaction(self, signature: str, config: dict[str, Any] | None = None) -> dict[str, Any] | None:
        config = config or {}
        commitment = config.get("commitment", "finalized")
        if commitment == "processed":
            raise RpcError(_INVALID_PARAMS, "Method does not support commitment below `confirmed`")
        if config.get("encoding", "json") != "json":
            raise RpcError(_INVALID_PARAMS, "this node tells transactions as json only")
        landing = self._seen(signature)
        if landing is None or _COMMITMENTS.index(self._confirmation(landing)) < _COMMITMENTS.index(commitment):
            return None
        is_versioned = isinstance(landing.sent.transaction.message, MessageV0)
        if is_versioned and config.get("maxSupportedTransactionVersion") != 0:
            raise RpcError(
                _UNSUPPORTED_VERSION,
                "Transaction version (0) is not supported by the requesting client. Please try the request again with"
                ' the following configuration parameter: "maxSupportedTransactionVersion": 0',
            )
        return self._landed(landing, "maxSupportedTransactionVersion" in config)

    def _landed(self, landing: Landing, tells_version: bool) -> dict[str, Any]:
        message, result = landing.sent.transaction.message, landing.result
        keys = [str(key) for key in message.account_keys]
        meta = {
            "computeUnitsConsumed": result.units,
            "err": result.error,
            "fee": result.fee,
            "innerInstructions": [],
            "loadedAddresses": {"readonly": [], "writable": []},
            "logMessages": list(result.logs),
            "postBalances": landing.after.lamports,
            "postTokenBalances": self._token_balances(landing.after),
            "preBalances": landing.before.lamports,
            "preTokenBalances": self._token_balances(landing.before),
            "rewards": [],
            "status": {"Ok": None} if result.error is None else {"Err": result.error},
        }
        header = message.header
        written = {
            "accountKeys": keys,
            "header": {
                "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
                "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
                "numRequiredSignatures": header.num_required_signatures,
            },
            "instructions": [
                {
                    "accounts": list(one.accounts),
                    "data": base58(one.data),
                    "programIdIndex": one.program_id_index,
                    "stackHeight": 1,
                }
                for one in message.instructions
            ],
            "recentBlockhash": str(message.recent_blockhash),
        }
        is_versioned = isinstance(message, MessageV0)
        if is_versioned:
            written["addressTableLookups"] = []
        told = {
            "blockTime": landing.unix_timestamp,
            "meta": meta,
            "slot": landing.slot,
            "transaction": {
                "message": written,
                "signatures": [str(signature) for signature in landing.sent.transaction.signatures],
            },
        }
        return {**told, "version": 0 if is_versioned else "legacy"} if tells_version else told

    def _token_balances(self, balances: Balances) -> list[dict[str, Any]]:
        return [
            {
                "accountIndex": index,
                "mint": str(tokens.mint),
                "owner": str(tokens.owner),
                "programId": str(tokens.program),
                "uiTokenAmount": self._ui_amount(tokens),
            }
            for index, tokens in enumerate(balances.tokens)
            if tokens
        ]

    def _ui_amount(self, tokens: TokenAccount) -> dict[str, Any]:
        mint = self.ledger.account(tokens.mint)
        assert mint is not None
        decimals = Mint.read(tokens.mint, mint).decimals
        whole, rest = divmod(tokens.amount, 10**decimals)
        fraction = f"{rest:0{decimals}}".rstrip("0") if decimals else ""
        return {
            "amount": str(tokens.amount),
            "decimals": decimals,
            "uiAmount": tokens.amount / 10**decimals if tokens.amount else None,
            "uiAmountString": f"{whole}.{fraction}" if fraction else str(whole),
        }

    def _airdrop(self, address: str, lamports: int, _: dict[str, Any] | None = None) -> str:
        """Give lamports at once: there is no faucet whose transaction could be waited for."""
        self.ledger.svm.airdrop(_pubkey(address), lamports)
        return base58(bytes([1] * 64))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    node: RpcServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up while it is answered is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        answer = self.server.node.answer(self.rfile.read(int(self.headers["Content-Length"])))
        if answer is None:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: tests look at what was asked."""


def base58(data: bytes) -> str:
    """Encode bytes as addresses and signatures are."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text: str) -> bytes:
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes(len(text) - len(text.lstrip("1"))) + body


def _pubkey(address: str) -> Pubkey:
    try:
        return Pubkey.from_string(address)
    except ValueError as error:
        raise RpcError(_INVALID_PARAMS, f"Invalid param: {error}") from error


def _account(account: Account, config: dict[str, Any] | None) -> dict[str, Any]:
    if (config or {}).get("encoding") != "base64":
        raise RpcError(_INVALID_PARAMS, "this node tells accounts in base64 only")
    part = (config or {}).get("dataSlice") or {"offset": 0, "length": len(account.data)}
    data = account.data[part["offset"] : part["offset"] + part["length"]]
    return {
        "data": [base64.b64encode(data).decode(), "base64"],
        "executable": account.executable,
        "lamports": account.lamports,
        "owner": str(account.owner),
        "rentEpoch": (1 << 64) - 1,
        "space": len(account.data),
    }


def _fits(data: bytes, wanted: dict[str, Any]) -> bool:
    if "dataSize" in wanted:
        return len(data) == wanted["dataSize"]
    if "memcmp" not in wanted:
        raise RpcError(_INVALID_PARAMS, f"Invalid params: unknown filter {wanted}")
    compared = wanted["memcmp"]
    encoding = compared.get("encoding", "base58")
    expected = from_base58(compared["bytes"]) if encoding == "base58" else base64.b64decode(compared["bytes"])
    offset = compared["offset"]
    return data[offset : offset + len(expected)] == expected


def _payload(encoded: str, config: dict[str, Any] | None) -> bytes:
    if (config or {}).get("encoding") != "base64":
        raise RpcError(_INVALID_PARAMS, "this node takes transactions in base64 only")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise RpcError(_INVALID_PARAMS, f"invalid base64 encoding: {error}") from error


def _refused(error: TransactionRefused) -> RpcError:
    is_unsigned = "signature" in str(error)
    return RpcError(_SIGNATURE_FAILURE if is_unsigned else _INVALID_PARAMS, str(error))


def _simulation(result: Result) -> dict[str, Any]:
    return {
        "accounts": None,
        "err": result.error,
        "innerInstructions": None,
        "loadedAccountsDataSize": 0,
        "logs": list(result.logs),
        "returnData": None,
        "unitsConsumed": result.units,
    }


def _preflight_failure(result: Result) -> RpcError:
    reason = {
        "AlreadyProcessed": "This transaction has already been processed",
        "BlockhashNotFound": "Blockhash not found",
    }.get(result.error if isinstance(result.error, str) else "", f"Error processing: {json.dumps(result.error)}")
    return RpcError(_PREFLIGHT_FAILURE, f"Transaction simulation failed: {reason}", _simulation(result))
