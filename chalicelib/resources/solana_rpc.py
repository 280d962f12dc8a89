"""The twelve methods of Solana's JSON-RPC API that the engine uses: https://solana.com/docs/rpc/http.

Whatever a node answers is read into a type of ours; an answer of another shape is the node's fault and leads to the
next endpoint. Addresses, hashes and signatures are base58 text, as the API has them: nothing here knows of keys.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from chalicelib.clock import Clock
from chalicelib.observability import logger
from chalicelib.resources.json_rpc import Call, JsonRpc, RpcRefused, RpcUnavailable, WrongNode

__all__ = [
    "Account",
    "BlockHeight",
    "Blockhash",
    "LastLook",
    "ProgramQuery",
    "RpcRefused",
    "RpcUnavailable",
    "SignatureStatus",
    "Simulation",
    "SolanaRpc",
    "Statuses",
]

T = TypeVar("T")

ACCOUNTS_AT_ONCE = 100
SIGNATURES_AT_ONCE = 256
"""What one call takes: ``MAX_MULTIPLE_ACCOUNTS`` and ``MAX_GET_SIGNATURE_STATUSES_QUERY_ITEMS`` in Agave."""
CONFIRMED = {"commitment": "confirmed"}
FINALIZED = {"commitment": "finalized"}
BASE64 = {"encoding": "base64"}
ALREADY_PROCESSED = "AlreadyProcessed"


class Account(NamedTuple):
    """An account: the program that owns it, its balance in lamports, and its bytes."""

    owner: str
    lamports: int
    data: bytes


class ProgramQuery(NamedTuple):
    """Which accounts of a program are wanted: of this size, with these base58 bytes at these offsets."""

    program: str
    size: int
    at: tuple[tuple[int, str], ...]


class Blockhash(NamedTuple):
    """What a transaction is bound to: it lands in a block of at most this height, or never."""

    hash: str
    last_valid_block_height: int


class SignatureStatus(NamedTuple):
    """Where a transaction landed, the error it landed with, and how sure that is."""

    slot: int
    err: Any
    confirmation: str
    """``processed``, ``confirmed`` or ``finalized``."""


class Statuses(NamedTuple):
    """What a node knew of transactions when it was at ``slot``."""

    slot: int
    statuses: list[SignatureStatus | None]


class BlockHeight(NamedTuple):
    """How many blocks lie before the finalized one of ``slot``."""

    slot: int
    height: int


class LastLook(NamedTuple):
    """What one node knew of transactions, and how far back and forward it knows anything."""

    found: Statuses
    finalized: BlockHeight
    """The last block that this very node has finalized."""
    first_slot: int
    """Of the first block that it still has."""


class Simulation(NamedTuple):
    """What a transaction would do now: its error, the compute units it takes, and what its programs log."""

    err: Any
    units: int
    logs: tuple[str, ...]


class _Context(msgspec.Struct, frozen=True):
    slot: int


class _AccountInfo(msgspec.Struct, frozen=True):
    owner: str
    lamports: int
    data: tuple[str, Literal["base64"]]


class _Accounts(msgspec.Struct, frozen=True):
    value: list[_AccountInfo | None]


class _KeyedAccount(msgspec.Struct, frozen=True):
    pubkey: str
    account: _AccountInfo


class _LatestBlockhash(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: str
    last_valid_block_height: int


class _LatestBlockhashAnswer(msgspec.Struct, frozen=True):
    value: _LatestBlockhash


class _PrioritizationFee(msgspec.Struct, frozen=True, rename="camel"):
    prioritization_fee: int


class _SimulationValue(msgspec.Struct, frozen=True, rename="camel"):
    err: Any = None
    logs: list[str] | None = None
    units_consumed: int | None = None


class _SimulationAnswer(msgspec.Struct, frozen=True):
    value: _SimulationValue


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    slot: int
    err: Any
    confirmation_status: Literal["processed", "confirmed", "finalized"]


class _StatusesAnswer(msgspec.Struct, frozen=True):
    context: _Context
    value: list[_Status | None]


class _EpochInfo(msgspec.Struct, frozen=True, rename="camel"):
    absolute_slot: int
    block_height: int


class SolanaRpc:
    """A cluster, seen through the first of our endpoints that answers, or all of them. Threads may share it.

    Every method raises ``RpcUnavailable`` when no endpoint answers now, and ``RpcRefused`` when a node refuses.
    """

    def __init__(self, urls: Sequence[str], clock: Clock, genesis_hash: str | None = None) -> None:
        """Take the endpoints in the order of preference; see ``JsonRpc``.

        With a ``genesis_hash``, nodes of other clusters are not believed: there is nothing that they know of our
        transactions, and they would say so.
        """
        self._nodes = JsonRpc(urls, clock, _of_cluster(genesis_hash) if genesis_hash else None)

    @property
    def round_trips(self) -> int:
        """How many requests were sent since the process started, whatever came of them."""
        return self._nodes.round_trips

    def accounts(self, addresses: Sequence[str]) -> list[Account | None]:
        """Return accounts as of the last confirmed block, None for each that does not exist.

        Those of up to a hundred addresses are of one block.
        """
        answers = self._nodes.ask(
            [
                Call("getMultipleAccounts", [list(part), {**BASE64, **CONFIRMED}], _of_length(len(part), _accounts))
                for part in _parts(addresses, ACCOUNTS_AT_ONCE)
            ]
        )
        return [account for accounts in answers for account in accounts]

    def program_accounts(self, queries: Sequence[ProgramQuery]) -> list[list[tuple[str, Account]]]:
        """Return for each query the accounts it finds, with their addresses."""
        return self._nodes.ask(
            [Call("getProgramAccounts", [query.program, _filters(query)], _program_accounts) for query in queries]
        )

    def blockhash_and_fees(self, writable: Sequence[str]) -> tuple[Blockhash, list[int]]:
        """Return the last confirmed blockhash, and what was lately paid for priority on these accounts.

        The fees are of some 150 recent blocks each, in micro-lamports a compute unit, of the least that got in.
        """
        calls: list[Call[Any]] = [
            Call("getLatestBlockhash", [CONFIRMED], _blockhash),
            Call("getRecentPrioritizationFees", [list(writable)], _fees),
        ]
        blockhash, fees = self._nodes.ask(calls)
        return blockhash, fees

    def simulate(self, transaction: bytes) -> Simulation:
        """Run a transaction against the last confirmed block; it needs no signature and no blockhash."""
        options = {**BASE64, **CONFIRMED, "sigVerify": False, "replaceRecentBlockhash": True}
        return self._one(Call("simulateTransaction", [_text(transaction), options], _simulation))

    def send(self, transaction: bytes) -> None:
        """Hand a signed transaction in: that it was taken does not mean that it lands.

        The node does not simulate it: one that is behind would refuse what another would take. It goes on handing it
        to leaders by itself for a while, which is as safe as sending the same bytes again.
        """
        options = {**BASE64, "skipPreflight": True}
        try:
            self._one(Call("sendTransaction", [_text(transaction), options], _signature))
        except RpcRefused as refused:
            if not _is_processed_already(refused):
                raise

    def signature_statuses(self, signatures: Sequence[str]) -> Statuses:
        """Look transactions up among those of the last minutes.

        Where many are asked for at once, ``slot`` is the earliest that any of them was looked up at.
        """
        return _as_one(self._nodes.ask(_status_calls(signatures, search_history=False)))

    def last_looks(self, signatures: Sequence[str]) -> list[LastLook]:
        """Look transactions up among all that each node has kept, and ask the same node what that is, in one request.

        Returns:
            What those nodes know that answer and refuse nothing of it.
        """
        calls: list[Call[Any]] = [
            Call("getEpochInfo", [FINALIZED], _block_height),
            Call("getFirstAvailableBlock", [], _slot),
            *_status_calls(signatures, search_history=True),
        ]
        refusals: list[RpcRefused] = []
        looks: list[LastLook] = []
        for answers in self._nodes.ask_every_endpoint(calls):
            told: list[Any] = [answer for answer in answers if not isinstance(answer, RpcRefused)]
            if len(told) == len(calls):
                finalized, first_slot, *found = told
                looks.append(LastLook(_as_one(found), finalized, first_slot))
            refusals += [answer for answer in answers if isinstance(answer, RpcRefused)]
        if not looks:
            raise refusals[0]
        return looks

    def block_height(self) -> BlockHeight:
        """Return the height of the last finalized block, and its slot."""
        return self._one(Call("getEpochInfo", [FINALIZED], _block_height))

    def transactions(self, signatures: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return confirmed transactions with what they changed; None for each that no node can give (yet).

        What the first node does not have all are asked for. One that is refused does not keep the others from being
        read.
        """
        calls = [_transaction_call(signature) for signature in signatures]
        answers = self._nodes.ask_each(calls)
        found = {
            signature: _unless_refused(call, answer)
            for signature, call, answer in zip(signatures, calls, answers, strict=True)
        }
        missing = [signature for signature in found if found[signature] is None]
        if missing and self._nodes.endpoints > 1:
            missing_calls = [_transaction_call(signature) for signature in missing]
            for of_node in self._nodes.ask_every_endpoint(missing_calls):
                for signature, call, answer in zip(missing, missing_calls, of_node, strict=True):
                    found[signature] = found[signature] or _unless_refused(call, answer)
        return [found[signature] for signature in signatures]

    def _one(self, call: Call[T]) -> T:
        return self._nodes.ask([call])[0]


def _parts(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _text(transaction: bytes) -> str:
    return b64encode(transaction).decode()


def _filters(query: ProgramQuery) -> dict[str, Any]:
    found = [{"memcmp": {"offset": offset, "bytes": base58}} for offset, base58 in query.at]
    return {**BASE64, **CONFIRMED, "filters": [{"dataSize": query.size}, *found]}


def _status_calls(signatures: Sequence[str], *, search_history: bool) -> list[Call[Statuses]]:
    options = {"searchTransactionHistory": search_history}
    return [
        Call("getSignatureStatuses", [list(part), options], _of_length(len(part), _statuses))
        for part in _parts(signatures, SIGNATURES_AT_ONCE)
    ]


def _of_cluster(genesis_hash: str) -> Call[None]:
    def read(result: Any) -> None:
        if result != genesis_hash:
            raise WrongNode("it is a node of another cluster than SOLANA_CLUSTER says")

    return Call("getGenesisHash", [], read)


def _as_one(answers: Sequence[Statuses]) -> Statuses:
    return Statuses(
        slot=min((slot for slot, _ in answers), default=0),
        statuses=[status for _, statuses in answers for status in statuses],
    )


def _transaction_call(signature: str) -> Call[dict[str, Any] | None]:
    options = {"encoding": "json", "maxSupportedTransactionVersion": 0, **CONFIRMED}
    return Call("getTransaction", [signature, options], _transaction)


def _unless_refused(call: Call[T], answer: T | RpcRefused) -> T | None:
    if isinstance(answer, RpcRefused):
        logger.warning(f"transaction {call.params[0]} cannot be read: {answer}")
        return None
    return answer


def _is_processed_already(refused: RpcRefused) -> bool:
    """Whether the transaction has landed: then there is nothing left to send.

    A node says so as a failed preflight (-32002), with the error in ``data`` and in words.
    """
    err = refused.data.get("err") if isinstance(refused.data, dict) else None
    return err == ALREADY_PROCESSED or "already been processed" in refused.message


# How results are read. Each raises ValueError where a node answers in another shape.


def _of_length(length: int, read: Callable[[Any], T]) -> Callable[[Any], T]:
    """Return a reader of an answer with one value for each thing that was asked for."""

    def read_all(result: Any) -> T:
        answer = read(result)
        if len(result["value"]) != length:
            raise ValueError(f"{length} values were asked for")
        return answer

    return read_all


def _account(info: _AccountInfo) -> Account:
    return Account(info.owner, info.lamports, b64decode(info.data[0], validate=True))


def _accounts(result: Any) -> list[Account | None]:
    return [None if info is None else _account(info) for info in msgspec.convert(result, _Accounts).value]


def _program_accounts(result: Any) -> list[tuple[str, Account]]:
    return [(found.pubkey, _account(found.account)) for found in msgspec.convert(result, list[_KeyedAccount])]


def _blockhash(result: Any) -> Blockhash:
    latest = msgspec.convert(result, _LatestBlockhashAnswer).value
    return Blockhash(latest.blockhash, latest.last_valid_block_height)


def _fees(result: Any) -> list[int]:
    return [fee.prioritization_fee for fee in msgspec.convert(result, list[_PrioritizationFee])]


def _simulation(result: Any) -> Simulation:
    value = msgspec.convert(result, _SimulationAnswer).value
    return Simulation(value.err, value.units_consumed or 0, tuple(value.logs or ()))


def _signature(result: Any) -> str:
    return msgspec.convert(result, str)


def _statuses(result: Any) -> Statuses:
    answer = msgspec.convert(result, _StatusesAnswer)
    return Statuses(answer.context.slot, [None if status is None else _status(status) for status in answer.value])


def _status(status: _Status) -> SignatureStatus:
    return SignatureStatus(status.slot, status.err, status.confirmation_status)


def _block_height(result: Any) -> BlockHeight:
    info = msgspec.convert(result, _EpochInfo)
    return BlockHeight(info.absolute_slot, info.block_height)


def _slot(result: Any) -> int:
    return msgspec.convert(result, int)


def _transaction(result: Any) -> dict[str, Any] | None:
    return msgspec.convert(result, dict[str, Any] | None)
