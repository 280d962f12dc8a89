"""The tests' node answers as Solana's nodes do, and the engine's own client understands it."""

import base64
import json
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest
from solders.keypair import Keypair

from chalicelib.clock import Clock
from chalicelib.resources.solana_rpc import ProgramQuery, RpcRefused, SolanaRpc
from tests.solana.accounts import LAMPORTS, associated_account
from tests.solana.faults import SlowlyConfirmed
from tests.solana.ledger import Ledger
from tests.solana.rpc_server import RpcError, RpcServer, base58, from_base58
from tests.solana.transactions import memo, pay, raydium_swap, signed

CONFIRMED = {"commitment": "confirmed"}
BASE64 = {"encoding": "base64"}


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(valid_blocks=20, finalized_after=4)
    ledger.produce(10)
    return ledger


@pytest.fixture
def node(ledger: Ledger) -> Iterator[RpcServer]:
    with RpcServer(ledger) as node:
        yield node


@pytest.fixture
def rpc(node: RpcServer) -> SolanaRpc:
    return SolanaRpc([node.url], Clock())


@pytest.fixture
def wallet(ledger: Ledger) -> Keypair:
    return ledger.new_wallet(10 * LAMPORTS)


def post(node: RpcServer, body: Any) -> tuple[int, dict[str, str], Any]:
    connection = HTTPConnection(urlsplit(node.url).netloc, timeout=5)
    try:
        connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def ask(node: RpcServer, method: str, *params: Any) -> Any:
    """Call a method, and return its result."""
    answer = post(node, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})[2]
    assert "error" not in answer, answer["error"]
    return answer["result"]


def refusal(node: RpcServer, method: str, *params: Any) -> dict[str, Any]:
    error: dict[str, Any] = post(node, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})[2]["error"]
    return error


def text(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


class TestRequests:
    def test_a_batch_is_answered_in_one_request_and_counted_as_one(self, node) -> None:
        with node.counted() as requests:
            status, _, answers = post(
                node,
                [
                    {"jsonrpc": "2.0", "id": 1, "method": "getHealth"},
                    {"jsonrpc": "2.0", "id": 2, "method": "getSlot", "params": [CONFIRMED]},
                ],
            )

        assert (status, [answer["id"] for answer in answers], answers[0]["result"]) == (200, [1, 2], "ok")
        assert requests == [["getHealth", "getSlot"]]
        assert node.calls == {"getHealth": 1, "getSlot": 1}

    def test_an_error_in_a_batch_is_that_calls_own(self, node) -> None:
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": name} for number, name in enumerate(("getHelp", "getHealth"))
        ]

        answers = post(node, calls)[2]

        assert answers[0]["error"] == {"code": -32601, "message": "Method not found"}
        assert answers[1]["result"] == "ok"

    @pytest.mark.parametrize(
        ("method", "params", "code"),
        [
            ("getMultipleAccounts", [["1" * 32] * 101, BASE64], -32602),
            ("getMultipleAccounts", [["nonsense"], BASE64], -32602),
            ("getSignatureStatuses", [["1" * 64] * 257], -32602),
            ("getTransaction", ["1" * 64, {"commitment": "processed"}], -32602),
            ("getLatestBlockhash", [{"commitment": "sure"}], -32602),
            ("sendTransaction", ["AAAA", BASE64], -32602),
            ("sendTransaction", ["AAAA"], -32602),
            ("simulateTransaction", ["AAAA", {**BASE64, "sigVerify": True, "replaceRecentBlockhash": True}], -32602),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_no_node_takes_is_refused(self, node, method: str, params: list[Any], code: int) -> None:
        assert refusal(node, method, *params)["code"] == code


class TestBlocks:
    def test_heights_are_those_of_the_commitment(self, ledger, node, rpc) -> None:
        finalized, confirmed = ask(node, "getEpochInfo"), ask(node, "getEpochInfo", CONFIRMED)

        assert finalized["blockHeight"] == ask(node, "getBlockHeight") == ledger.height - 4
        assert confirmed["blockHeight"] == ledger.height - 1
        assert confirmed["absoluteSlot"] == ledger.slots[ledger.height - 1]
        assert rpc.block_height() == (ledger.slots[ledger.height - 4], ledger.height - 4)

    def test_the_confirmed_blockhash_is_good_for_the_blocks_that_it_says(self, ledger, rpc) -> None:
        blockhash, fees = rpc.blockhash_and_fees([])

        assert blockhash.hash == str(ledger.blockhash(ledger.height - 1))
        assert blockhash.last_valid_block_height == ledger.height - 1 + 20
        assert fees == [0, 0, 1000]

    def test_a_node_that_is_behind_tells_of_older_blocks_and_of_nothing_in_newer_ones(
        self, ledger, node, wallet
    ) -> None:
        sent = ledger.send(signed(ledger, wallet, memo(wallet, "hello")))
        ledger.produce()
        node.blocks_behind = 3

        before = ask(node, "getSignatureStatuses", [sent.signature])
        ledger.produce(3)
        after = ask(node, "getSignatureStatuses", [sent.signature])

        assert (before["context"]["slot"], before["value"]) == (ledger.slots[ledger.height - 6], [None])
        assert after["value"][0]["slot"] == ledger.landings[sent.signature].slot


class TestAccounts:
    def test_accounts_are_told_as_they_are_and_none_where_there_is_none(self, ledger, rpc, wallet) -> None:
        mint = ledger.new_mint(6)
        account = ledger.give(wallet.pubkey(), mint, 1_500_000)

        told = rpc.accounts([str(wallet.pubkey()), str(account), str(ledger.new_address())])

        assert told[0] == ("1" * 32, 10 * LAMPORTS, b"")
        assert told[1] == (str(mint.program), 2_039_280, ledger.account(account).data)
        assert told[2] is None

    def test_a_programs_accounts_are_found_by_size_and_bytes(self, ledger, rpc) -> None:
        base, quote, other = (ledger.new_mint(6) for _ in range(3))
        pools = {
            pair: ledger.new_meteora_pool(*pair, (10**9, 10**9))
            for pair in ((base, quote), (quote, base), (base, other))
        }

        queries = [
            ProgramQuery(str(ledger.meteora.program), 1112, ((168, str(a.address)), (200, str(b.address))))
            for a, b in ((base, quote), (quote, base), (other, base))
        ]
        found = rpc.program_accounts(queries)

        assert [[address for address, _ in one] for one in found] == [
            [str(pools[base, quote])],
            [str(pools[quote, base])],
            [],
        ]

    def test_lamports_can_be_asked_for(self, ledger, node) -> None:
        somebody = ledger.new_address()

        ask(node, "requestAirdrop", str(somebody), LAMPORTS)

        assert ask(node, "getBalance", str(somebody), CONFIRMED)["value"] == LAMPORTS
        assert ask(node, "getMinimumBalanceForRentExemption", 165) == 2_039_280


class TestTransactions:
    def test_a_status_says_where_it_landed_and_how_sure_that_is(self, ledger, node, rpc, wallet) -> None:
        payload = signed(ledger, wallet, pay(wallet, ledger.new_address(), LAMPORTS))
        signature = ask(node, "sendTransaction", text(payload), {**BASE64, "skipPreflight": True})
        told = []
        for blocks in (0, 1, 1, 3):
            ledger.produce(blocks)
            told.append(ask(node, "getSignatureStatuses", [signature])["value"][0])

        slot = ledger.landings[signature].slot
        common = {"slot": slot, "err": None, "status": {"Ok": None}}
        assert told == [
            None,
            {**common, "confirmationStatus": "processed", "confirmations": 0},
            {**common, "confirmationStatus": "confirmed", "confirmations": 1},
            {**common, "confirmationStatus": "finalized", "confirmations": None},
        ]
        assert rpc.signature_statuses([signature]).statuses == [(slot, None, "finalized")]

    def test_what_is_long_ago_is_found_in_the_history_only(self, ledger, rpc, wallet) -> None:
        sent = ledger.send(signed(ledger, wallet, memo(wallet, "hello")))
        ledger.produce(152)

        assert rpc.signature_statuses([sent.signature]).statuses == [None]
        assert rpc.last_looks([sent.signature])[0].found.statuses[0].err is None

    def test_a_slowly_confirmed_one_is_not_told_before(self, ledger, rpc, wallet) -> None:
        ledger.faults.append(SlowlyConfirmed(2))
        sent = ledger.send(signed(ledger, wallet, memo(wallet, "hello")))
        ledger.produce(2)

        assert rpc.signature_statuses([sent.signature]).statuses[0].confirmation == "processed"
        assert rpc.transactions([sent.signature]) == [None]
        ledger.produce(2)
        assert rpc.transactions([sent.signature])[0]["slot"] == ledger.landings[sent.signature].slot

    def test_a_landed_swap_is_told_with_what_it_moved(self, ledger, rpc) -> None:
        wallet = ledger.new_wallet(LAMPORTS)
        base, quote = ledger.new_mint(9), ledger.new_mint(6)
        for mint in (base, quote):
            ledger.give(wallet.pubkey(), mint, 10**10)
        pool = ledger.new_raydium_pool(base, quote, (10**12, 15 * 10**10))
        sent = ledger.send(signed(ledger, wallet, raydium_swap(ledger, wallet, pool, (base, quote), 10**9, 1)))
        ledger.produce(2)

        told = rpc.transactions([sent.signature])[0]

        keys = told["transaction"]["message"]["accountKeys"]
        meta = told["meta"]
        assert (meta["err"], meta["fee"], told["version"]) == (None, 5000, 0)
        assert keys[0] == str(wallet.pubkey())
        assert meta["preBalances"][0] - meta["postBalances"][0] == 5000
        moved = {}
        for sign, balances in ((-1, meta["preTokenBalances"]), (1, meta["postTokenBalances"])):
            for balance in balances:
                key = (keys[balance["accountIndex"]], balance["mint"], balance["owner"])
                moved[key] = moved.get(key, 0) + sign * int(balance["uiTokenAmount"]["amount"])
        ours = {mint: amount for (account, mint, owner), amount in moved.items() if owner == keys[0]}
        vaults = {mint: amount for (account, mint, owner), amount in moved.items() if owner != keys[0]}
        received = ledger.held(wallet.pubkey(), quote) - 10**10
        assert ours == {str(base.address): -(10**9), str(quote.address): received}
        assert vaults == {str(base.address): 10**9, str(quote.address): -received}
        assert {key[0] for key in moved} > {str(associated_account(wallet.pubkey(), mint)) for mint in (base, quote)}
        amount = next(one["uiTokenAmount"] for one in meta["preTokenBalances"] if one["mint"] == str(quote.address))
        assert amount["decimals"] == 6

    def test_one_that_failed_is_told_with_its_error(self, ledger, node, rpc, wallet) -> None:
        sent = ledger.send(signed(ledger, wallet, pay(wallet, ledger.new_address(), 99 * LAMPORTS)))
        ledger.produce(2)

        error = {"InstructionError": [0, {"Custom": 1}]}
        assert ask(node, "getSignatureStatuses", [sent.signature])["value"][0]["status"] == {"Err": error}
        assert rpc.signature_statuses([sent.signature]).statuses[0].err == error
        assert rpc.transactions([sent.signature])[0]["meta"]["err"] == error

    def test_a_versioned_one_is_told_only_to_who_understands_it(self, ledger, node, wallet) -> None:
        versioned = ledger.send(signed(ledger, wallet, memo(wallet, "hello")))
        legacy = ledger.send(signed(ledger, wallet, memo(wallet, "hello"), legacy=True))
        ledger.produce(2)

        assert refusal(node, "getTransaction", versioned.signature, CONFIRMED)["code"] == -32015
        assert "version" not in ask(node, "getTransaction", legacy.signature, CONFIRMED)

    def test_a_simulation_needs_neither_signature_nor_blockhash(self, ledger, node, rpc, wallet) -> None:
        payload = signed(ledger, wallet, pay(wallet, ledger.new_address(), LAMPORTS))
        unsigned = payload[:1] + bytes(64) + payload[65:]
        ledger.produce(30)

        told = ask(node, "simulateTransaction", text(unsigned), {**BASE64, **CONFIRMED, "replaceRecentBlockhash": True})

        assert (told["value"]["err"], told["value"]["unitsConsumed"]) == (None, 150)
        assert told["value"]["replacementBlockhash"]["lastValidBlockHeight"] == ledger.height - 1 + 20
        assert rpc.simulate(unsigned).units == 150
        assert ask(node, "simulateTransaction", text(payload), BASE64)["value"]["err"] == "BlockhashNotFound"

    def test_the_preflight_refuses_what_would_fail_with_the_logs(self, ledger, node, wallet) -> None:
        payload = signed(ledger, wallet, pay(wallet, ledger.new_address(), 99 * LAMPORTS))

        error = refusal(node, "sendTransaction", text(payload), BASE64)

        assert (error["code"], error["data"]["err"]) == (-32002, {"InstructionError": [0, {"Custom": 1}]})
        assert "Transfer: insufficient lamports 9999995000, need 99000000000" in error["data"]["logs"]
        assert not ledger.sent

    def test_a_forged_signature_is_refused(self, ledger, node, wallet) -> None:
        forged = bytearray(signed(ledger, wallet, memo(wallet, "hello")))
        forged[5] ^= 1

        assert (
            refusal(node, "sendTransaction", text(bytes(forged)), {**BASE64, "skipPreflight": True})["code"] == -32003
        )


class TestTroubles:
    def test_a_node_that_is_down_closes_every_connection(self, node) -> None:
        node.is_down = True

        with pytest.raises(RemoteDisconnected):
            ask(node, "getHealth")

    def test_a_limited_rate_is_told_with_when_to_come_back(self, node) -> None:
        node.rate_limited, node.retry_after = 1, "7"

        status, headers, answer = post(node, {"jsonrpc": "2.0", "id": 1, "method": "getHealth"})

        assert (status, headers["Retry-After"], answer["error"]["code"]) == (429, "7", 429)
        assert ask(node, "getHealth") == "ok"

    def test_a_transaction_whose_answer_is_lost_lands(self, ledger, node, wallet) -> None:
        node.lost_answers = 1
        payload = signed(ledger, wallet, memo(wallet, "hello"))

        with pytest.raises(RemoteDisconnected):
            ask(node, "sendTransaction", text(payload), {**BASE64, "skipPreflight": True})
        ledger.produce()

        assert len(ledger.landings) == 1

    def test_a_transaction_that_landed_may_be_refused_when_it_comes_again(self, ledger, node, rpc, wallet) -> None:
        payload = signed(ledger, wallet, memo(wallet, "hello"))
        rpc.send(payload)
        ledger.produce()

        assert ask(node, "sendTransaction", text(payload), {**BASE64, "skipPreflight": True})
        node.refuses_landed = True
        error = refusal(node, "sendTransaction", text(payload), {**BASE64, "skipPreflight": True})
        rpc.send(payload)
        ledger.produce()

        assert (error["code"], error["data"]["err"]) == (-32002, "AlreadyProcessed")
        assert len(ledger.landings) == 1

    def test_any_call_can_be_refused_once(self, node, rpc) -> None:
        node.refusals.append(("getEpochInfo", RpcError(-32099, "no epoch today")))

        with pytest.raises(RpcRefused, match="no epoch today"):
            rpc.block_height()
        assert rpc.block_height().height

    def test_a_node_that_hangs_answers_nothing(self, node) -> None:
        node.hangs = True
        connection = HTTPConnection(urlsplit(node.url).netloc, timeout=0.1)

        connection.request("POST", "/", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getHealth"}))
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()

    def test_nodes_may_serve_one_chain_and_have_troubles_of_their_own(self, ledger, node) -> None:
        with RpcServer(ledger) as other:
            node.is_down = True
            rpc = SolanaRpc([node.url, other.url], Clock())

            assert rpc.block_height().height == ledger.height - 4
            assert node.calls.keys() == other.calls.keys() == {"getEpochInfo"}


@pytest.mark.parametrize("data", [b"", b"\0\0\x01", bytes(range(32)), b"\xff" * 64], ids=len)
def test_base58_is_read_as_it_is_written(data: bytes) -> None:
    assert from_base58(base58(data)) == data
