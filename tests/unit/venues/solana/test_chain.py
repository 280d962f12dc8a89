"""How swaps end on Solana: landed with what they moved, refused by a program, expired for certain, or not known yet."""

from datetime import timedelta
from decimal import Decimal

import pytest
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from chalicelib.orders.swap import SignedTransaction, SwapOutcome, SwapStatus
from chalicelib.resources.solana_rpc import BlockHeight, LastLook, RpcRefused, RpcUnavailable, SignatureStatus, Statuses
from chalicelib.venues.solana.chain import VALID_BLOCKS, SolanaChain
from chalicelib.venues.solana.clusters import SPL_TOKEN
from chalicelib.venues.solana.failures import describe_error
from chalicelib.venues.solana.token_programs import WRAPPED_SOL
from chalicelib.venues.venue import VenueUnavailable
from tests.builders import NOON
from tests.clocks import StoppedClock


def address(number):
    return Pubkey.from_bytes(bytes([number]) * 32)


WALLET = Keypair.from_seed(bytes(32))
VENUE_PROGRAM = address(90)
TOKEN, OTHER_TOKEN = str(address(20)), str(address(21))
SOURCE, DESTINATION = address(11), address(12)
INPUT_VAULT, OUTPUT_VAULT = address(13), address(14)
SWAP_BASE_INPUT = bytes.fromhex("8fbe5adac41e33de")
LAST_VALID = 1000
ENOUGH_TIME = timedelta(seconds=60)


def accounts(*addresses, writable=False):
    return [AccountMeta(each, is_signer=False, is_writable=writable) for each in addresses]


def payload_of(input_mint, output_mint):
    """Return the bytes of a transaction: budget, SOL, tokens, and a swap as Raydium's program takes it."""
    authority, config, pool, observation = map(address, (91, 92, 93, 94))
    token_program = Pubkey.from_string(SPL_TOKEN)
    mints = Pubkey.from_string(input_mint), Pubkey.from_string(output_mint)
    swap = [
        AccountMeta(WALLET.pubkey(), is_signer=True, is_writable=False),
        *accounts(authority, config),
        *accounts(pool, SOURCE, DESTINATION, INPUT_VAULT, OUTPUT_VAULT, writable=True),
        *accounts(token_program, token_program, *mints),
        *accounts(observation, writable=True),
    ]
    instructions = [
        set_compute_unit_limit(60_000),
        transfer(TransferParams(from_pubkey=WALLET.pubkey(), to_pubkey=SOURCE, lamports=1)),
        Instruction(token_program, b"\x11", accounts(SOURCE, writable=True)),
        Instruction(VENUE_PROGRAM, SWAP_BASE_INPUT + bytes(16), swap),
    ]
    message = Message.new_with_blockhash(instructions, WALLET.pubkey(), Hash.default())
    return bytes(Transaction([WALLET], message, Hash.default()))


PAYLOAD = payload_of(TOKEN, OTHER_TOKEN)
KEYS = [str(key) for key in Transaction.from_bytes(PAYLOAD).message.account_keys]
"""The same accounts are written whatever the mints are, and those come first."""


def a_swap(name="swap", input_mint=TOKEN, output_mint=OTHER_TOKEN, **changes):
    fields = {
        "tx_hash": name,
        "venue": "raydium",
        "payload": payload_of(input_mint, output_mint),
        "expires_at": NOON + ENOUGH_TIME,
        "last_valid_block_height": LAST_VALID,
        **changes,
    }
    return SignedTransaction(**fields)


def balance(account, mint, amount, decimals=6):
    tokens = {"amount": str(amount), "decimals": decimals, "uiAmount": None, "uiAmountString": "?"}
    return {"accountIndex": KEYS.index(str(account)), "mint": mint, "owner": "?", "uiTokenAmount": tokens}


def transaction(before, after, err=None):
    """Return what ``getTransaction`` answers."""
    return {"slot": 9, "meta": {"err": err, "fee": 5000, "preTokenBalances": before, "postTokenBalances": after}}


SWAPPED = transaction(
    [balance(SOURCE, TOKEN, 5_000_000), balance(DESTINATION, OTHER_TOKEN, 1, 9)],
    [balance(SOURCE, TOKEN, 3_999_999), balance(DESTINATION, OTHER_TOKEN, 2_000_000_001, 9)],
)
"""1.000001 of a token for 2 of the other."""


class ScriptedRpc:
    """What nodes answer, and what they were asked."""

    def __init__(self):
        self.recent = {}
        """Statuses by hash, of the last minutes."""
        self.kept = {}
        """Statuses by hash that only a look through the history finds."""
        self.height = BlockHeight(slot=500, height=0)
        self.slots = [500]
        """At which slot each node is that looks through the history."""
        self.forgetful = set()
        """The slots of those nodes that have lost what they had kept."""
        self.finalized = None
        """What the nodes that look through the history have finalized, if not the same."""
        self.first_slot = 0
        self.moved = {}
        self.fails = {}
        """Errors by method, instead of an answer."""
        self.asked = []
        self.sent = []

    def signature_statuses(self, signatures):
        self._note("statuses", list(signatures))
        return Statuses(600, [self.recent.get(signature) for signature in signatures])

    def last_looks(self, signatures):
        self._note("history", list(signatures))
        known = {**self.kept, **self.recent}
        looks = []
        for slot in self.slots:
            lost = slot in self.forgetful
            found = Statuses(slot, [None if lost else known.get(signature) for signature in signatures])
            looks.append(LastLook(found, self.finalized or self.height, self.first_slot))
        return looks

    def block_height(self):
        self._note("height")
        return self.height

    def transactions(self, signatures):
        self._note("transactions", list(signatures))
        return [self.moved.get(signature) for signature in signatures]

    def send(self, payload):
        self._note("send")
        self.sent.append(payload)

    def _note(self, *asked):
        self.asked.append(asked)
        if asked[0] in self.fails:
            raise self.fails[asked[0]]

    @property
    def methods(self):
        return [method for method, *_ in self.asked]


@pytest.fixture
def rpc():
    return ScriptedRpc()


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def chain(rpc, clock):
    return SolanaChain(rpc=rpc, explorer_url=lambda tx_hash: f"https://explorer/{tx_hash}", clock=clock)


def status(confirmation="confirmed", err=None):
    return SignatureStatus(slot=9, err=err, confirmation=confirmation)


UNAVAILABLE = RpcUnavailable("no Solana RPC endpoint answers: it limits our rate", NOON)
REFUSED = RpcRefused("sendTransaction", -32602, "Invalid params", None)
SLIPPED = {"InstructionError": [3, {"Custom": 6005}]}


# Sending.


def test_the_recorded_bytes_are_sent_and_the_same_again(chain, rpc):
    chain.submit(a_swap())
    chain.submit(a_swap())

    assert rpc.sent == [PAYLOAD, PAYLOAD]


@pytest.mark.parametrize("error", [UNAVAILABLE, REFUSED], ids=["nobody answers", "a node refuses"])
def test_a_send_that_was_not_taken_for_certain_leaves_the_outcome_open(chain, rpc, error):
    rpc.fails["send"] = error

    with pytest.raises(VenueUnavailable, match=r"no Solana RPC endpoint answers|was refused"):
        chain.submit(a_swap())


# Outcomes.


def test_swaps_that_are_on_their_way_cost_one_request_for_all_of_them(chain, rpc):
    rpc.recent["seen"] = status("processed")

    assert chain.statuses([a_swap(f"swap {number}") for number in range(300)] + [a_swap("seen")]) == {}
    assert rpc.methods == ["statuses"]


def test_nothing_is_asked_for_nothing(chain, rpc):
    assert chain.statuses([]) == {}
    assert rpc.asked == []


@pytest.mark.parametrize("confirmation", ["confirmed", "finalized"])
def test_a_swap_that_landed_says_what_it_moved_and_where_to_see_it(chain, rpc, confirmation):
    rpc.recent["swap"] = status(confirmation)
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap()]) == {
        "swap": SwapStatus(
            outcome=SwapOutcome.LANDED,
            spent=Decimal("1.000001"),
            received=Decimal(2),
            explorer_url="https://explorer/swap",
        )
    }


def test_what_many_swaps_moved_takes_one_more_request(chain, rpc):
    names = [f"swap {number}" for number in range(50)]
    rpc.recent = dict.fromkeys(names, status())
    rpc.moved = dict.fromkeys(names, SWAPPED)

    assert len(chain.statuses([a_swap(name) for name in names])) == 50
    assert rpc.asked == [("statuses", names), ("transactions", names)]


@pytest.mark.parametrize("err", [None, SLIPPED], ids=["swapped", "with an error"])
def test_a_swap_that_is_only_processed_has_no_outcome_however_late_it_is(chain, rpc, clock, err):
    rpc.recent["swap"] = status("processed", err)
    rpc.height = BlockHeight(slot=500, height=LAST_VALID + 1)
    clock.pass_time(3600)

    assert chain.statuses([a_swap()]) == {}


@pytest.mark.parametrize("confirmation", ["confirmed", "finalized"])
def test_a_swap_that_landed_with_an_error_failed_and_says_why(chain, rpc, confirmation):
    rpc.recent["swap"] = status(confirmation, SLIPPED)

    ended = chain.statuses([a_swap()])["swap"]

    assert (ended.outcome, ended.spent, ended.received) == (SwapOutcome.FAILED, None, None)
    assert ended.error.startswith("slippage: the price has moved")
    assert ended.explorer_url == "https://explorer/swap"
    assert rpc.methods == ["statuses"]


def test_a_swap_that_landed_and_whose_balances_are_not_there_yet_is_looked_at_again(chain, rpc, clock, log):
    rpc.recent["swap"] = status()
    clock.pass_time(3600)
    rpc.height = BlockHeight(slot=500, height=LAST_VALID + 1)

    assert chain.statuses([a_swap()]) == {}
    assert log() == []
    rpc.moved["swap"] = SWAPPED
    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.LANDED


@pytest.mark.parametrize(
    "answer",
    [
        {"slot": 9, "meta": None},
        {"slot": 9},
        transaction(None, None),
        transaction([], []),
        transaction([balance(SOURCE, TOKEN, 5)], [balance(SOURCE, TOKEN, 4)]),
        transaction(SWAPPED["meta"]["preTokenBalances"], SWAPPED["meta"]["preTokenBalances"]),
        transaction(SWAPPED["meta"]["postTokenBalances"], SWAPPED["meta"]["preTokenBalances"]),
        transaction([], [{**balance(SOURCE, TOKEN, 5), "accountIndex": 99}]),
        transaction([], [balance(SOURCE, TOKEN, "-5")]),
        transaction([], [balance(SOURCE, TOKEN, "NaN")]),
        transaction([], [balance(SOURCE, TOKEN, 5, decimals=10**10)]),
        transaction(SWAPPED["meta"]["preTokenBalances"], SWAPPED["meta"]["postTokenBalances"], err=SLIPPED),
    ],
    ids=[
        "no meta",
        "nothing",
        "no lists",
        "empty lists",
        "nothing received",
        "nothing moved",
        "moved backwards",
        "an account that is none",
        "a negative balance",
        "no number",
        "no decimals",
        "an error",
    ],
)
def test_balances_that_make_no_sense_are_never_an_outcome_and_keep_no_other_swap_waiting(chain, rpc, log, answer):
    rpc.recent = {"swap": status(), "good": status()}
    rpc.moved = {"swap": answer, "good": SWAPPED}

    assert chain.statuses([a_swap(), a_swap("good")]).keys() == {"good"}
    assert "swap swap landed, but what it moved cannot be read" in log()[-1]["message"]


def test_a_transaction_of_ours_that_holds_no_swap_is_never_an_outcome(chain, rpc, log):
    message = Message.new_with_blockhash([set_compute_unit_limit(1)], WALLET.pubkey(), Hash.default())
    rpc.recent["swap"] = status()
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap(payload=bytes(Transaction([WALLET], message, Hash.default())))]) == {}
    assert "holds no swap" in log()[-1]["message"]


# What was moved.


def test_sol_that_was_spent_is_what_the_pool_gained(chain, rpc):
    rpc.recent["swap"] = status()
    rpc.moved["swap"] = transaction(
        [balance(INPUT_VAULT, WRAPPED_SOL, 10**12, 9), balance(OUTPUT_VAULT, TOKEN, 900)],
        [
            balance(INPUT_VAULT, WRAPPED_SOL, 10**12 + 1_500_000_001, 9),
            balance(OUTPUT_VAULT, TOKEN, 800),
            balance(DESTINATION, TOKEN, 100),
        ],
    )

    ended = chain.statuses([a_swap(input_mint=WRAPPED_SOL, output_mint=TOKEN)])["swap"]

    assert (ended.spent, ended.received) == (Decimal("1.500000001"), Decimal("0.000100"))


def test_sol_that_was_received_is_what_the_pool_gave(chain, rpc):
    rpc.recent["swap"] = status()
    rpc.moved["swap"] = transaction(
        [balance(SOURCE, TOKEN, 100), balance(OUTPUT_VAULT, WRAPPED_SOL, 18446744073709551615, 9)],
        [balance(SOURCE, TOKEN, 0), balance(OUTPUT_VAULT, WRAPPED_SOL, 18446744073709551614, 9)],
    )

    ended = chain.statuses([a_swap(input_mint=TOKEN, output_mint=WRAPPED_SOL)])["swap"]

    assert (ended.spent, ended.received) == (Decimal("0.0001"), Decimal("0.000000001"))


def test_what_a_mint_keeps_of_a_transfer_was_spent_and_was_not_received(chain, rpc):
    rpc.recent["swap"] = status()
    rpc.moved["swap"] = transaction(
        [balance(SOURCE, TOKEN, 1000), balance(INPUT_VAULT, TOKEN, 0), balance(OUTPUT_VAULT, OTHER_TOKEN, 1000)],
        [
            balance(SOURCE, TOKEN, 0),
            balance(INPUT_VAULT, TOKEN, 990),
            balance(OUTPUT_VAULT, OTHER_TOKEN, 500),
            balance(DESTINATION, OTHER_TOKEN, 495),
        ],
    )

    ended = chain.statuses([a_swap()])["swap"]

    assert (ended.spent, ended.received) == (Decimal("0.001"), Decimal("0.000495"))


# Expiry.


@pytest.fixture
def overdue(rpc, clock):
    """By our clock it may have expired, and the chain is past its last block."""
    clock.pass_time(ENOUGH_TIME.total_seconds())
    rpc.height = BlockHeight(slot=500, height=LAST_VALID + 1)


def test_a_swap_is_expired_when_the_chain_is_past_it_and_a_look_after_that_finds_nothing(chain, rpc, overdue):
    assert chain.statuses([a_swap()]) == {"swap": SwapStatus(outcome=SwapOutcome.EXPIRED)}
    assert rpc.asked == [("statuses", ["swap"]), ("height",), ("history", ["swap"])]


def test_before_its_time_by_our_clock_nobody_asks_whether_a_swap_has_expired(chain, rpc, clock, overdue):
    clock.pass_time(-0.001)

    assert chain.statuses([a_swap()]) == {}
    assert rpc.methods == ["statuses"]


def test_our_clock_alone_expires_nothing(chain, rpc, clock, overdue):
    clock.pass_time(86400)
    rpc.height = BlockHeight(slot=500, height=LAST_VALID)

    assert chain.statuses([a_swap()]) == {}
    assert rpc.methods == ["statuses", "height"]


def test_a_swap_that_the_last_look_finds_has_landed(chain, rpc, overdue):
    rpc.kept["swap"] = status("finalized")
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.LANDED


def test_a_swap_that_the_last_look_finds_with_an_error_has_failed(chain, rpc, overdue):
    rpc.kept["swap"] = status("finalized", SLIPPED)

    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.FAILED


def test_a_swap_that_the_last_look_finds_processed_may_still_land(chain, rpc, overdue):
    rpc.kept["swap"] = status("processed")

    assert chain.statuses([a_swap()]) == {}


def test_a_last_look_at_a_node_that_lags_behind_the_height_does_not_count(chain, rpc, overdue):
    rpc.slots = [499]
    assert chain.statuses([a_swap()]) == {}

    rpc.slots = [499, 500]
    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.EXPIRED


def test_a_last_look_at_a_node_that_has_not_finalized_a_later_block_itself_does_not_count(chain, rpc, overdue):
    rpc.finalized = BlockHeight(slot=500, height=LAST_VALID)

    assert chain.statuses([a_swap()]) == {}
    rpc.finalized = BlockHeight(slot=500, height=LAST_VALID + 1)
    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.EXPIRED


def test_a_last_look_at_a_node_that_has_not_all_blocks_since_the_signature_does_not_count(chain, rpc, overdue):
    rpc.first_slot = 500 - 2 * (VALID_BLOCKS + 1) + 1

    assert chain.statuses([a_swap()]) == {}
    rpc.first_slot -= 1
    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.EXPIRED


def test_what_a_node_that_lags_behind_has_found_counts_nevertheless(chain, rpc, overdue):
    rpc.slots = [499]
    rpc.kept["swap"] = status("finalized")
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap(), a_swap("another")]).keys() == {"swap"}


@pytest.mark.parametrize("slots", [[500, 501], [501, 500], [499, 500]], ids=["first", "last", "lagging"])
def test_what_one_node_finds_no_other_can_deny(chain, rpc, overdue, slots):
    rpc.slots = slots
    rpc.forgetful = {max(slots)}
    rpc.kept["swap"] = status("finalized")
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.LANDED


@pytest.mark.parametrize("confirmations", [("processed", "finalized"), ("finalized", "processed")])
def test_of_what_several_nodes_find_the_surest_counts(chain, rpc, overdue, monkeypatch, confirmations):
    looks = [LastLook(Statuses(500, [status(confirmation)]), rpc.height, 0) for confirmation in confirmations]
    monkeypatch.setattr(rpc, "last_looks", lambda _: looks)
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap()])["swap"].outcome is SwapOutcome.LANDED


@pytest.mark.parametrize("method", ["height", "history"])
@pytest.mark.parametrize("error", [UNAVAILABLE, REFUSED], ids=["nobody answers", "a node refuses"])
def test_an_expiry_that_cannot_be_checked_waits_and_keeps_no_other_outcome_back(
    chain, rpc, overdue, log, method, error
):
    rpc.fails[method] = error
    rpc.recent["landed"] = status()
    rpc.moved["landed"] = SWAPPED

    assert chain.statuses([a_swap(), a_swap("landed")]).keys() == {"landed"}
    assert "1 overdue swaps not looked for" in log()[-1]["message"]


def test_each_swap_expires_at_its_own_height(chain, rpc, overdue):
    assert chain.statuses([a_swap("old"), a_swap("young", last_valid_block_height=LAST_VALID + 1)]).keys() == {"old"}
    assert rpc.asked[-1] == ("history", ["old"])


def test_a_swap_of_another_chain_is_not_asked_about_and_never_expires_by_guess(chain, rpc, overdue, log):
    rpc.recent["swap"] = status()
    rpc.moved["swap"] = SWAPPED

    assert chain.statuses([a_swap("simulated", last_valid_block_height=None), a_swap()]).keys() == {"swap"}
    assert rpc.asked[0] == ("statuses", ["swap"])
    assert "swap simulated has no last valid block height" in log()[0]["message"]


@pytest.mark.parametrize("method", ["statuses", "transactions"])
@pytest.mark.parametrize("error", [UNAVAILABLE, REFUSED], ids=["nobody answers", "a node refuses"])
def test_when_nobody_can_say_what_became_of_swaps_the_chain_is_unavailable(chain, rpc, method, error):
    rpc.recent["swap"] = status()
    rpc.fails[method] = error

    with pytest.raises(VenueUnavailable):
        chain.statuses([a_swap()])


# Errors in words.

FEW_TOKENS = "insufficient funds: a token account holds less than the swap moves"
LITTLE_SOL = "insufficient funds: the wallet holds less SOL than the swap needs"


@pytest.mark.parametrize(
    ("err", "venue", "words"),
    [
        (
            SLIPPED,
            "raydium",
            "slippage: the price has moved beyond what the swap accepts (error 6005 of raydium, instruction 3)",
        ),
        (
            {"InstructionError": [3, {"Custom": 6002}]},
            "meteora",
            "slippage: the price has moved beyond what the swap accepts (error 6002 of meteora, instruction 3)",
        ),
        ({"InstructionError": [3, {"Custom": 6002}]}, "raydium", "error 6002 of raydium, instruction 3"),
        ({"InstructionError": [2, {"Custom": 6005}]}, "raydium", "error 6005 of the Token program, instruction 2"),
        (
            {"InstructionError": [3, {"Custom": 1}]},
            "raydium",
            f"{FEW_TOKENS} (error 1 of raydium, instruction 3)",
        ),
        (
            {"InstructionError": [2, {"Custom": 1}]},
            "raydium",
            f"{FEW_TOKENS} (error 1 of the Token program, instruction 2)",
        ),
        (
            {"InstructionError": [1, {"Custom": 1}]},
            "raydium",
            f"{LITTLE_SOL} (error 1 of the System program, instruction 1)",
        ),
        ({"InstructionError": [0, {"Custom": 1}]}, "raydium", "error 1 of the Compute Budget program, instruction 0"),
        (
            {"InstructionError": [3, "ComputationalBudgetExceeded"]},
            "raydium",
            "the transaction's compute units were used up (raydium, instruction 3)",
        ),
        ({"InstructionError": [3, "InvalidArgument"]}, "meteora", "InvalidArgument (meteora, instruction 3)"),
        (
            {"InstructionError": [3, {"BorshIoError": "?"}]},
            "meteora",
            '{"BorshIoError":"?"} (meteora, instruction 3)',
        ),
        ({"InstructionError": [9, {"Custom": 1}]}, "raydium", '{"InstructionError":[9,{"Custom":1}]}'),
        ("InsufficientFundsForFee", "raydium", "insufficient funds: the wallet cannot pay the transaction's fee"),
        (
            {"InsufficientFundsForRent": {"account_index": 0}},
            "raydium",
            f"insufficient funds: account {WALLET.pubkey()} would hold less SOL than an account must",
        ),
        ("WouldExceedMaxBlockCostLimit", "raydium", "WouldExceedMaxBlockCostLimit"),
        ({"DuplicateInstruction": 5}, "raydium", '{"DuplicateInstruction":5}'),
    ],
    ids=[
        "slippage at Raydium",
        "slippage at Meteora",
        "Meteora's number at Raydium",
        "Raydium's number of another program",
        "too few tokens, by the venue",
        "too few tokens",
        "too little SOL",
        "a number of a program that has none",
        "compute units",
        "another word",
        "another shape",
        "an instruction that is none",
        "the fee",
        "rent",
        "another error",
        "another error with a number",
    ],
)
def test_an_error_is_told_in_words_where_it_is_known_and_as_it_is_where_not(err, venue, words):
    assert describe_error(err, PAYLOAD, venue) == words
