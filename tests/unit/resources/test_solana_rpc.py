"""Solana's JSON-RPC against nodes on loopback: what is asked, how answers are read, and whom to ask when one fails."""

import json
import threading
from base64 import b64encode
from datetime import timedelta

import pytest

from chalicelib.resources import json_rpc
from chalicelib.resources.json_rpc import (
    CALL_SECONDS,
    LARGEST_QUESTION,
    LONGEST_RATE_LIMIT_SECONDS,
    LONGEST_REST_SECONDS,
    RATE_LIMIT_SECONDS,
    REST_SECONDS,
)
from chalicelib.resources.solana_rpc import (
    Account,
    Blockhash,
    BlockHeight,
    LastLook,
    ProgramQuery,
    RpcRefused,
    RpcUnavailable,
    SignatureStatus,
    Simulation,
    SolanaRpc,
    Statuses,
)
from tests.builders import NOON
from tests.clocks import StoppedClock
from tests.scripted_node import ScriptedNode, answers_with, as_json, error, hangs_up, respond, sends

TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
EPOCH = {
    "absoluteSlot": 500,
    "blockHeight": 480,
    "epoch": 1,
    "slotIndex": 68,
    "slotsInEpoch": 432,
    "transactionCount": 9,
}
BEHIND = error(-32005, "Node is behind by 42 slots", {"numSlotsBehind": 42})


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def node():
    with ScriptedNode() as running:
        running.results["getEpochInfo"] = EPOCH
        yield running


@pytest.fixture
def other():
    with ScriptedNode() as running:
        running.results["getEpochInfo"] = {**EPOCH, "blockHeight": 999}
        yield running


@pytest.fixture
def rpc(node, clock):
    """The cluster through one node."""
    return SolanaRpc([node.url], clock)


@pytest.fixture
def pair(node, other, clock):
    """The cluster through two nodes, the first preferred."""
    return SolanaRpc([node.url, other.url], clock)


def account_json(data=b"\x01\x02", lamports=5):
    return {
        "owner": TOKEN_PROGRAM,
        "lamports": lamports,
        "data": [b64encode(data).decode(), "base64"],
        "executable": False,
        "rentEpoch": 18446744073709551615,
        "space": len(data),
    }


def with_context(value, slot=7):
    return {"context": {"apiVersion": "3.0.0", "slot": slot}, "value": value}


def status_json(confirmation="confirmed", err=None, slot=6):
    confirmed = {"Ok": None} if err is None else {"Err": err}
    return {"slot": slot, "confirmations": 3, "err": err, "status": confirmed, "confirmationStatus": confirmation}


# What is asked, and how it is read.


def test_accounts_come_as_owner_lamports_and_bytes_and_none_where_there_is_none(rpc, node):
    node.results["getMultipleAccounts"] = with_context([account_json(b"\x00\xff", 18446744073709551615), None])

    assert rpc.accounts(["A", "B"]) == [Account(TOKEN_PROGRAM, 18446744073709551615, b"\x00\xff"), None]
    assert node.requests[0]["params"] == [["A", "B"], {"encoding": "base64", "commitment": "confirmed"}]


def test_more_than_a_hundred_accounts_are_several_calls_in_one_request(rpc, node):
    node.results["getMultipleAccounts"] = lambda params: with_context(
        [account_json(address.encode()) for address in params[0]]
    )
    addresses = [f"address {number}" for number in range(250)]

    assert [account.data.decode() for account in rpc.accounts(addresses)] == addresses
    assert [len(call["params"][0]) for call in node.requests[0]] == [100, 100, 50]
    assert rpc.round_trips == 1


def test_nothing_is_asked_for_nothing(rpc, node):
    assert rpc.accounts([]) == []
    assert rpc.program_accounts([]) == []
    assert rpc.transactions([]) == []
    assert rpc.signature_statuses([]) == Statuses(0, [])
    assert node.requests == []


def test_pools_of_several_programs_are_found_in_one_request(rpc, node):
    found = {"P": [{"pubkey": "pool", "account": account_json()}], "Q": []}
    node.results["getProgramAccounts"] = lambda params: found[params[0]]

    pools = rpc.program_accounts([ProgramQuery("P", 637, ((168, "a"), (200, "b"))), ProgramQuery("Q", 1112, ())])

    assert pools == [[("pool", Account(TOKEN_PROGRAM, 5, b"\x01\x02"))], []]
    assert node.requests[0][0]["params"][1] == {
        "encoding": "base64",
        "commitment": "confirmed",
        "filters": [
            {"dataSize": 637},
            {"memcmp": {"offset": 168, "bytes": "a"}},
            {"memcmp": {"offset": 200, "bytes": "b"}},
        ],
    }
    assert rpc.round_trips == 1


def test_a_blockhash_and_what_priority_costs_come_in_one_request(rpc, node):
    node.results["getLatestBlockhash"] = with_context({"blockhash": "H", "lastValidBlockHeight": 3090})
    node.results["getRecentPrioritizationFees"] = [
        {"slot": 1, "prioritizationFee": 0},
        {"slot": 2, "prioritizationFee": 9},
    ]

    assert rpc.blockhash_and_fees(["pool"]) == (Blockhash("H", 3090), [0, 9])
    assert [call["params"] for call in node.requests[0]] == [[{"commitment": "confirmed"}], [["pool"]]]
    assert rpc.round_trips == 1


def test_answers_of_a_batch_may_come_in_any_order(rpc, node):
    node.results["getLatestBlockhash"] = with_context({"blockhash": "H", "lastValidBlockHeight": 3090})
    node.results["getRecentPrioritizationFees"] = []
    node.turns = [lambda batch: as_json(json.loads(node.answer(batch).body)[::-1])]

    assert rpc.blockhash_and_fees([]) == (Blockhash("H", 3090), [])


def test_a_simulation_needs_neither_signature_nor_blockhash(rpc, node):
    node.results["simulateTransaction"] = with_context({"err": None, "logs": ["a", "b"], "unitsConsumed": 41_000})

    assert rpc.simulate(b"\x01") == Simulation(None, 41_000, ("a", "b"))
    assert node.requests[0]["params"] == [
        "AQ==",
        {"encoding": "base64", "commitment": "confirmed", "sigVerify": False, "replaceRecentBlockhash": True},
    ]


def test_a_simulation_that_fails_says_why(rpc, node):
    err = {"InstructionError": [3, {"Custom": 6005}]}
    node.results["simulateTransaction"] = with_context({"err": err, "logs": None})

    assert rpc.simulate(b"\x01") == Simulation(err, 0, ())


def test_a_transaction_is_sent_as_it_is_and_once(rpc, node):
    node.results["sendTransaction"] = "signature"

    rpc.send(b"\x01")

    assert node.requests[0]["params"] == ["AQ==", {"encoding": "base64", "skipPreflight": True}]
    assert rpc.round_trips == 1


@pytest.mark.parametrize(
    "refusal",
    [
        error(-32002, "Transaction simulation failed", {"err": "AlreadyProcessed", "logs": []}),
        error(-32002, "Transaction simulation failed: This transaction has already been processed"),
    ],
    ids=["in its data", "in words"],
)
def test_a_transaction_that_has_landed_already_counts_as_sent(rpc, node, refusal):
    node.turns = [answers_with(error=refusal)]

    rpc.send(b"\x01")


def test_a_transaction_that_is_refused_says_so_with_the_nodes_own_words(rpc, node):
    data = {"err": {"InstructionError": [0, "InvalidArgument"]}, "logs": []}
    node.turns = [answers_with(error=error(-32002, "Transaction simulation failed: invalid", data))]

    with pytest.raises(RpcRefused, match=r"sendTransaction was refused: Transaction .* invalid \(-32002\)") as raised:
        rpc.send(b"\x01")

    assert (raised.value.code, raised.value.data) == (-32002, data)


def test_statuses_say_how_sure_they_are_and_at_which_slot_they_were_looked_up(rpc, node):
    err = {"InstructionError": [3, {"Custom": 6005}]}
    node.results["getSignatureStatuses"] = with_context([None, status_json("processed"), status_json("finalized", err)])

    assert rpc.signature_statuses(["a", "b", "c"]) == Statuses(
        7, [None, SignatureStatus(6, None, "processed"), SignatureStatus(6, err, "finalized")]
    )
    assert node.requests[0]["params"] == [["a", "b", "c"], {"searchTransactionHistory": False}]


def test_of_many_statuses_the_earliest_slot_is_what_they_are_good_for(rpc, node):
    slots = {256: 90, 44: 80}
    node.results["getSignatureStatuses"] = lambda params: with_context([None] * len(params[0]), slots[len(params[0])])

    assert rpc.signature_statuses(["s"] * 300) == Statuses(80, [None] * 300)
    assert rpc.round_trips == 1


def test_the_block_height_is_that_of_the_finalized_block(rpc, node):
    assert rpc.block_height() == BlockHeight(slot=500, height=480)
    assert node.requests[0]["params"] == [{"commitment": "finalized"}]


def test_transactions_come_in_one_request_with_exact_numbers_and_none_for_those_not_known(rpc, node):
    known = {"a": {"meta": {"fee": 9007199254740993}, "blockTime": 1.1}, "b": None}
    node.results["getTransaction"] = lambda params: known[params[0]]

    first, second = rpc.transactions(["a", "b"])

    assert (first["meta"]["fee"], str(first["blockTime"]), second) == (9007199254740993, "1.1", None)
    assert node.requests[0][0]["params"] == [
        "a",
        {"encoding": "json", "maxSupportedTransactionVersion": 0, "commitment": "confirmed"},
    ]
    assert rpc.round_trips == 1


def test_a_transaction_that_a_node_refuses_to_give_does_not_keep_the_others_back(rpc, node, log):
    outcomes = {"a": {"error": error(-32015, "version 7 is not supported")}, "b": {"result": {"slot": 3}}}
    node.turns = [lambda batch: as_json([respond(call, **outcomes[call["params"][0]]) for call in batch])]

    assert rpc.transactions(["a", "b"]) == [None, {"slot": 3}]
    assert "version 7 is not supported (-32015)" in log()[-1]["message"]


def test_what_is_too_large_for_one_request_is_several(rpc, node):
    node.results["getTransaction"] = lambda params: {"signature": params[0]}
    signatures = [f"{number:088}" for number in range(600)]

    assert [found["signature"] for found in rpc.transactions(signatures)] == signatures
    assert rpc.round_trips > 1
    assert all(int(headers["Content-Length"]) <= LARGEST_QUESTION for headers in node.headers)


def test_connections_are_kept(rpc, node):
    for _ in range(5):
        rpc.block_height()

    assert (node.connections, rpc.round_trips) == (1, 5)


# Whom to ask when one fails.

FAILURES = {
    "no answer": hangs_up,
    "an error of the server": sends(503),
    "a way elsewhere": sends(302, Location="http://127.0.0.1/"),
    "a key that is not taken": sends(403, b'{"jsonrpc":"2.0","error":{"code":-32052,"message":"no"}}'),
    "no JSON": sends(200, b"<html>"),
    "nothing": sends(200),
    "JSON of another kind": sends(200, b"[1]"),
    "an empty batch": sends(200, b"[]"),
    "a result of another shape": answers_with(result={"absoluteSlot": "500"}),
    "no result": answers_with(),
    "an answer to another question": sends(
        200, b'{"jsonrpc":"2.0","id":0,"result":{"absoluteSlot":1,"blockHeight":1}}'
    ),
    "an answer twice": lambda call: as_json([respond(call, result=EPOCH), respond(call, result=EPOCH)]),
    "behind the cluster": answers_with(error=BEHIND),
    "behind a slot": answers_with(error=error(-32016, "Minimum context slot has not been reached", {"contextSlot": 1})),
    "broken": answers_with(error=error(-32603, "Internal error")),
    "a rate limit": sends(429, b"Too many requests"),
    "a rate limit as JSON-RPC": answers_with(error=error(429, "Connection rate limits exceeded")),
    "a rate limit in words": answers_with(error=error(-32007, "50/second request limit reached")),
}


@pytest.mark.parametrize("turn", FAILURES.values(), ids=FAILURES.keys())
def test_where_one_node_fails_the_next_is_asked_at_once_and_the_first_rests(pair, node, other, clock, turn):
    node.always = turn

    assert pair.block_height().height == 999
    asked = len(node.requests)
    assert pair.block_height().height == 999
    assert (len(node.requests), len(other.requests)) == (asked, 2)
    assert clock.slept == []


@pytest.mark.parametrize("turn", FAILURES.values(), ids=FAILURES.keys())
def test_a_node_that_works_again_is_asked_again(pair, node, clock, turn):
    node.always = turn
    pair.block_height()
    node.always = None
    clock.pass_time(max(REST_SECONDS, RATE_LIMIT_SECONDS))

    assert pair.block_height().height == 480


def test_a_node_that_cannot_be_reached_is_passed_over(other, clock):
    assert SolanaRpc(["http://127.0.0.1:1", other.url], clock).block_height().height == 999


def test_a_node_that_keeps_silent_is_passed_over(pair, node, monkeypatch):
    monkeypatch.setattr(json_rpc, "READ_SECONDS", 0.05)
    done = threading.Event()
    node.always = lambda call: done.wait(10) and node.answer(call)

    assert pair.block_height().height == 999
    done.set()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answers: answers[:1],
        lambda answers: [*answers, answers[0]],
        lambda answers: [answers[0], answers[0]],
        lambda answers: [answers[0], {**answers[1], "id": 10**6}],
        lambda answers: answers[0],
        lambda answers: [answers[0], {**answers[1], "result": None, "error": BEHIND}],
        lambda answers: [answers[0], {**answers[1], "result": [{"prioritizationFee": "9"}]}],
    ],
    ids=["one missing", "one more", "one twice", "one to another", "only one", "one behind", "one of another shape"],
)
def test_a_batch_that_is_answered_wrongly_is_asked_as_a_whole_of_the_next(pair, node, other, spoil):
    for each in (node, other):
        each.results["getLatestBlockhash"] = with_context({"blockhash": each.host, "lastValidBlockHeight": 1})
        each.results["getRecentPrioritizationFees"] = []
    node.turns = [lambda batch: as_json(spoil(json.loads(node.answer(batch).body)))]

    assert pair.blockhash_and_fees([])[0].hash == other.host


@pytest.mark.parametrize(
    ("method", "result", "ask"),
    [
        ("getMultipleAccounts", with_context([account_json()]), lambda rpc: rpc.accounts(["A", "B"])),
        (
            "getMultipleAccounts",
            with_context([{**account_json(), "data": ["%", "base64"]}]),
            lambda rpc: rpc.accounts(["A"]),
        ),
        (
            "getMultipleAccounts",
            with_context([{**account_json(), "data": ["", "base58"]}]),
            lambda rpc: rpc.accounts(["A"]),
        ),
        ("getSignatureStatuses", with_context([]), lambda rpc: rpc.signature_statuses(["a"])),
        (
            "getSignatureStatuses",
            with_context([status_json("recent")]),
            lambda rpc: rpc.signature_statuses(["a"]),
        ),
        ("getSignatureStatuses", {"value": [None]}, lambda rpc: rpc.signature_statuses(["a"])),
        ("simulateTransaction", None, lambda rpc: rpc.simulate(b"")),
        ("sendTransaction", None, lambda rpc: rpc.send(b"")),
        ("getTransaction", [], lambda rpc: rpc.transactions(["a"])),
        ("getProgramAccounts", with_context([]), lambda rpc: rpc.program_accounts([ProgramQuery("P", 1, ())])),
    ],
    ids=[
        "too few accounts",
        "no base64",
        "another encoding",
        "too few statuses",
        "an unknown confirmation",
        "no slot",
        "no simulation",
        "no signature",
        "no transaction",
        "no list",
    ],
)
def test_an_answer_that_makes_no_sense_is_the_nodes_fault_and_never_believed(rpc, node, method, result, ask):
    node.results[method] = result

    with pytest.raises(RpcUnavailable, match=f"{node.host}: its answer to {method} makes no sense"):
        ask(rpc)


def test_a_connection_that_died_while_nobody_looked_is_no_reason_to_give_a_node_up(rpc, node):
    rpc.block_height()
    node.turns = [hangs_up]

    assert rpc.block_height().height == 480
    assert rpc.round_trips == 3


def test_a_node_that_fails_again_and_again_rests_longer_each_time(rpc, node, clock):
    node.always = sends(503)
    rests = []
    for _ in range(7):
        with pytest.raises(RpcUnavailable) as raised:
            rpc.block_height()
        rests.append((raised.value.until - clock.now()).total_seconds())
        clock.pass_time(rests[-1])

    assert rests == [REST_SECONDS] + [LONGEST_REST_SECONDS] * 6

    node.always = None
    rpc.block_height()
    node.always = sends(503)
    with pytest.raises(RpcUnavailable) as raised:
        rpc.block_height()
    assert raised.value.until - clock.now() == timedelta(seconds=REST_SECONDS)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry_After": "10"}, 10),
        ({"Retry_After": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30),
        ({"Retry_After": "Saturday, 21-Nov-26 12:00:07 GMT"}, 7),
        ({"Retry_After": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"Retry_After": "9" * 50}, LONGEST_RATE_LIMIT_SECONDS),
        ({"Retry_After": "soon"}, RATE_LIMIT_SECONDS),
        ({"Retry_After": "-5"}, RATE_LIMIT_SECONDS),
        ({}, RATE_LIMIT_SECONDS),
    ],
    ids=["seconds", "a date", "an old date", "a date that is past", "for ever", "no time", "negative", "none"],
)
def test_a_node_that_limits_our_rate_is_left_alone_for_as_long_as_it_asks(rpc, node, clock, header, seconds):
    node.always = sends(429, b"slow down", **header)

    with pytest.raises(RpcUnavailable, match="it limits our rate") as raised:
        rpc.block_height()

    assert raised.value.until == NOON + timedelta(seconds=seconds)
    node.always = None
    if seconds:
        clock.pass_time(seconds - 0.5)
        with pytest.raises(RpcUnavailable):
            rpc.block_height()
        assert len(node.requests) == 1
    clock.pass_time(0.5)
    assert rpc.block_height().height == 480


def test_when_all_nodes_rest_nobody_waits_and_the_caller_learns_until_when(pair, node, other, clock):
    node.always = sends(429, Retry_After="30")
    other.always = sends(429, Retry_After="20")

    for _ in range(3):
        with pytest.raises(RpcUnavailable, match="asked again from 12:00:20 UTC") as raised:
            pair.block_height()

    assert (node.host in str(raised.value), other.host in str(raised.value)) == (True, True)
    assert (len(node.requests), len(other.requests), clock.slept) == (1, 1, [])


def test_a_call_ends_when_its_time_is_over_however_many_nodes_are_left(node, other, clock):
    def slow(_):
        clock.pass_time(CALL_SECONDS)
        return sends(503)(_)

    node.always = slow
    rpc = SolanaRpc([node.url, other.url], clock)

    with pytest.raises(RpcUnavailable):
        rpc.block_height()

    assert other.requests == []
    assert rpc.block_height().height == 999


# All nodes at once.


LANDED, NOT_FOUND = with_context([status_json()], 9), with_context([None], 7)
FINALIZED = BlockHeight(slot=500, height=480)
NOTHING = LastLook(Statuses(7, [None]), FINALIZED, 3)


def looks(found):
    """Return what a node says of itself, and that it has found this."""
    return {"getEpochInfo": EPOCH, "getFirstAvailableBlock": 3, "getSignatureStatuses": found}


def test_every_node_is_asked_for_what_it_has_kept_and_how_far_that_goes(pair, node, other):
    node.results |= looks(NOT_FOUND)
    other.results |= looks(LANDED)

    assert pair.last_looks(["a"]) == [
        NOTHING,
        LastLook(Statuses(9, [SignatureStatus(6, None, "confirmed")]), FINALIZED, 3),
    ]
    for each in (node, other):
        (asked,) = each.requests
        assert [call["params"] for call in asked] == [
            [{"commitment": "finalized"}],
            [],
            [["a"], {"searchTransactionHistory": True}],
        ]


def test_where_there_is_one_node_it_is_asked_once(rpc, node):
    node.results |= looks(NOT_FOUND) | {"getTransaction": None}

    assert rpc.last_looks(["a"]) == [NOTHING]
    assert rpc.transactions(["a"]) == [None]
    assert rpc.round_trips == 2


def test_nodes_are_asked_side_by_side(pair, node, other):
    """Each answers only when both were asked."""
    both = threading.Barrier(2, timeout=10)
    for each in (node, other):
        each.results |= looks(lambda _: (both.wait(), NOT_FOUND)[1])

    assert len(pair.last_looks(["a"])) == 2


@pytest.mark.parametrize("turn", FAILURES.values(), ids=FAILURES.keys())
def test_a_node_that_fails_is_no_voice_and_is_not_asked_while_it_rests(pair, node, other, turn):
    node.always = turn
    other.results |= looks(NOT_FOUND)

    assert pair.last_looks(["a"]) == [NOTHING]
    asked = len(node.requests)
    assert pair.last_looks(["a"]) == [NOTHING]
    assert len(node.requests) == asked


def test_a_node_that_has_no_history_is_no_voice(pair, node, other):
    node.always = answers_with(error=error(-32011, "Transaction history is not available from this node"))
    other.results |= looks(NOT_FOUND)

    assert pair.last_looks(["a"]) == [NOTHING]

    other.always = node.always
    with pytest.raises(RpcRefused, match="history is not available"):
        pair.last_looks(["a"])


def test_where_every_node_fails_nobody_has_said_anything(pair, node, other):
    node.always = other.always = sends(503)

    with pytest.raises(RpcUnavailable, match="HTTP 503"):
        pair.last_looks(["a"])


def test_a_transaction_that_the_first_node_does_not_have_is_read_from_another(pair, node, other):
    of_node, of_other = {"a": {"slot": 3}, "b": None, "c": None}, {"b": {"slot": 4}, "c": None}
    node.results["getTransaction"] = lambda params: of_node[params[0]]
    other.results["getTransaction"] = lambda params: of_other[params[0]]

    assert pair.transactions(["a", "b", "c"]) == [{"slot": 3}, {"slot": 4}, None]
    assert len(other.requests) == 1


def test_an_answer_that_comes_in_drops_has_no_more_time_than_another(pair, node, clock, monkeypatch):
    monkeypatch.setattr(json_rpc, "CHUNK", 10)
    seconds = iter([0.0] * 6)
    monkeypatch.setattr(clock, "seconds", lambda: next(seconds, CALL_SECONDS))
    node.results["getEpochInfo"] = {**EPOCH, "more": "x" * 1000}

    with pytest.raises(RpcUnavailable, match=f"no whole answer within {CALL_SECONDS:g} s"):
        pair.block_height()


def test_an_answer_without_end_is_not_read(rpc, node, monkeypatch):
    monkeypatch.setattr(json_rpc, "LARGEST_ANSWER", 100)
    node.results["getEpochInfo"] = {**EPOCH, "more": "x" * 1000}

    with pytest.raises(RpcUnavailable, match="its answer has more than 100 bytes"):
        rpc.block_height()


@pytest.mark.parametrize("code", [-32601, -32010, -32011], ids=["method", "index", "history"])
def test_what_one_node_does_not_serve_another_may_and_the_first_goes_on_being_asked_other_things(
    pair, node, other, code
):
    node.turns = [answers_with(error=error(code, "not here"))]
    other.results["getProgramAccounts"] = [{"pubkey": "pool", "account": account_json()}]

    assert len(pair.program_accounts([ProgramQuery("P", 637, ())])[0]) == 1
    assert pair.block_height().height == 480


def test_what_no_node_serves_is_refused_and_not_unavailable(pair, node, other):
    node.always = answers_with(error=error(-32010, "excluded from account secondary indexes"))
    other.always = answers_with(error=error(-32601, "Method not found"))

    with pytest.raises(RpcRefused, match=r"getProgramAccounts was refused: excluded .* \(-32010\)"):
        pair.program_accounts([ProgramQuery("P", 637, ())])


def test_a_node_that_takes_no_batches_refuses_them_as_a_whole(rpc, node):
    node.always = lambda _: as_json({"jsonrpc": "2.0", "id": None, "error": error(-32600, "batches are not allowed")})

    with pytest.raises(RpcRefused, match="batches are not allowed"):
        rpc.blockhash_and_fees([])


def test_what_one_node_refuses_is_not_asked_of_another(pair, node, other):
    node.always = answers_with(error=error(-32602, "Invalid param: WrongSize"))

    with pytest.raises(RpcRefused, match="WrongSize"):
        pair.accounts(["A"])

    assert other.requests == []


# Keys in URLs.

KEY = "0123456789abcdefSECRET"


@pytest.mark.parametrize(
    "with_key",
    [
        lambda host: f"http://{host}/v2/{KEY}",
        lambda host: f"http://{host}/?api-key={KEY}",
        lambda host: f"http://user:{KEY}@{host}/",
        lambda host: f"http://{KEY}@{host}/",
    ],
    ids=["path", "query", "password", "user"],
)
@pytest.mark.parametrize(
    "turn",
    [
        *[
            FAILURES[name]
            for name in ("no answer", "an error of the server", "no JSON", "behind the cluster", "a rate limit")
        ],
        answers_with(error=error(-32602, f"the key {KEY} is unknown")),
        answers_with(error=error(-32005, f"the key {KEY} is unknown")),
    ],
    ids=["no answer", "an error of the server", "no JSON", "behind", "a rate limit", "refuses it", "is behind with it"],
)
def test_a_key_is_in_no_error_and_no_log(node, clock, log, caplog, with_key, turn):
    caplog.set_level("DEBUG")
    node.always = turn
    rpc = SolanaRpc([with_key(node.host)], clock)

    with pytest.raises((RpcUnavailable, RpcRefused)) as raised:
        rpc.block_height()

    assert KEY not in str(raised.value)
    assert KEY not in repr(raised.value)
    assert KEY not in json.dumps(log(), default=str)
    assert all(KEY not in record.getMessage() for record in caplog.records)


def test_user_and_password_of_a_url_are_sent_as_such(node, clock):
    SolanaRpc([f"http://user:p%40ss@{node.host}/v2?region=eu"], clock).block_height()

    assert node.headers[0]["Authorization"] == "Basic dXNlcjpwQHNz"
    assert node.paths == ["/v2?region=eu"]


@pytest.mark.parametrize("url", ["", KEY, f"ftp://{KEY}/", f"http://host:{KEY}/", f"http:///{KEY}"], ids=str)
def test_what_is_no_url_is_refused_without_repeating_it(clock, url):
    with pytest.raises(ValueError, match="RPC endpoint 2 is not a URL") as raised:
        SolanaRpc(["http://127.0.0.1", url], clock)

    assert KEY not in str(raised.value)
    assert raised.value.__context__ is None


def test_a_cluster_without_an_endpoint_is_refused(clock):
    with pytest.raises(ValueError, match="an RPC endpoint is needed"):
        SolanaRpc([], clock)


def test_a_node_is_asked_once_and_along_with_something_else_which_cluster_it_is_of(node, clock):
    node.results["getGenesisHash"] = "ours"
    rpc = SolanaRpc([node.url], clock, "ours")

    assert [rpc.block_height().height for _ in range(2)] == [480, 480]
    first, second = node.requests
    assert [call["method"] for call in first] == ["getGenesisHash", "getEpochInfo"]
    assert second["method"] == "getEpochInfo"


@pytest.mark.parametrize("answer", ["another's", None, 5], ids=["another's", "nothing", "no text"])
def test_a_node_of_another_cluster_rests_and_the_next_one_is_asked(node, other, clock, answer):
    node.results["getGenesisHash"] = answer
    other.results["getGenesisHash"] = "ours"

    assert SolanaRpc([node.url, other.url], clock, "ours").block_height().height == 999


def test_a_node_that_does_not_say_which_cluster_it_is_of_is_not_believed(node, clock):
    node.turns.append(answers_with(error=error(-32601, "Method not found")))

    with pytest.raises(RpcUnavailable, match="getGenesisHash was refused"):
        SolanaRpc([node.url], clock, "ours").block_height()
