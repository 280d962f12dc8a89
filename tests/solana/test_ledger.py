"""The tests' Solana does what Solana does, so that what is tested on it means something."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.solana.accounts import LAMPORTS, TOKEN_2022_PROGRAM, Mint, TransferFee, with_data
from tests.solana.faults import Dropped, Duplicated, Expiring, Failing, Fault, Late, SlowlyConfirmed
from tests.solana.ledger import Ledger, Sent, TransactionRefused
from tests.solana.transactions import memo, meteora_swap, pay, raydium_swap, signed, units_limit, units_price

Swap = Callable[..., Instruction]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(valid_blocks=20, finalized_after=4)


@pytest.fixture
def wallet(ledger: Ledger) -> Keypair:
    return ledger.new_wallet(10 * LAMPORTS)


@pytest.fixture
def payment(ledger: Ledger, wallet: Keypair) -> tuple[bytes, Pubkey]:
    receiver = ledger.new_address()
    return signed(ledger, wallet, pay(wallet, receiver, LAMPORTS)), receiver


class Market:
    """A pair with a pool of either program, and a wallet that has both tokens."""

    def __init__(self, ledger: Ledger, fee: TransferFee | None = None) -> None:
        program = {} if fee is None else {"program": TOKEN_2022_PROGRAM, "fee": fee}
        self.ledger = ledger
        self.base, self.quote = ledger.new_mint(9, **program), ledger.new_mint(6, **program)
        self.wallet = ledger.new_wallet(LAMPORTS)
        for mint in (self.base, self.quote):
            ledger.give(self.wallet.pubkey(), mint, 10**12)
        amounts = (10**12, 150 * 10**9)
        self.pools = {
            raydium_swap: ledger.new_raydium_pool(self.base, self.quote, amounts),
            meteora_swap: ledger.new_meteora_pool(self.base, self.quote, amounts),
        }

    def held(self, mint: Mint) -> int:
        return self.ledger.held(self.wallet.pubkey(), mint)

    def swap(self, program: Swap, amount: int, least: int = 0, *before: Instruction, **changed: Any) -> Any:
        """Sell the base token, and return where it landed."""
        mints = (self.base, self.quote)
        instruction = program(self.ledger, self.wallet, self.pools[program], mints, amount, least)
        for place, address in changed.get("accounts", {}).items():
            accounts = list(instruction.accounts)
            accounts[place] = AccountMeta(address, accounts[place].is_signer, accounts[place].is_writable)
            instruction = Instruction(instruction.program_id, instruction.data, accounts)
        sent = self.ledger.send(
            signed(self.ledger, self.wallet, *before, instruction, legacy=changed.get("legacy", False))
        )
        self.ledger.produce()
        return self.ledger.landings.get(sent.signature)


every_program = pytest.mark.parametrize("program", [raydium_swap, meteora_swap], ids=["raydium", "meteora"])


class TestBlocks:
    def test_a_payment_lands_in_the_next_block_and_costs_its_fee(self, ledger, wallet, payment) -> None:
        sent = ledger.send(payment[0])
        assert ledger.lamports(payment[1]) == 0

        ledger.produce()

        landing = ledger.landings[sent.signature]
        assert (landing.height, landing.slot, landing.result.error) == (ledger.height, ledger.slot, None)
        assert ledger.lamports(payment[1]) == LAMPORTS
        assert ledger.lamports(wallet.pubkey()) == 9 * LAMPORTS - 5000

    def test_priority_is_paid_for_the_units_that_were_asked_for(self, ledger, wallet) -> None:
        ask = (units_limit(10_000), units_price(2_000_000))

        sent = ledger.send(signed(ledger, wallet, *ask, pay(wallet, ledger.new_address(), LAMPORTS)))
        ledger.produce()

        assert ledger.landings[sent.signature].result.fee == 5000 + 10_000 * 2

    def test_slots_run_ahead_of_heights(self, ledger) -> None:
        slot, height = ledger.slot, ledger.height

        ledger.produce(16)

        assert (ledger.height - height, ledger.slot - slot) == (16, 18)

    def test_time_passes_with_the_blocks(self, ledger) -> None:
        before = ledger.moment

        ledger.produce(10)

        assert ledger.moment.unix_timestamp == before.unix_timestamp + 4
        assert ledger.svm.get_clock().unix_timestamp == ledger.moment.unix_timestamp
        assert ledger.svm.get_clock().slot == ledger.slot

    def test_blocks_are_made_by_themselves_while_it_runs(self, ledger, payment) -> None:
        landed = []
        ledger.fault_of = lambda sent: landed.append(sent)

        with ledger.running(0.001):
            sent = ledger.send(payment[0])
            while sent.signature not in ledger.landings:
                pass

        height = ledger.height
        assert landed == [sent]
        assert ledger.height == height

    def test_a_transaction_gets_surer_with_every_block(self, ledger, payment) -> None:
        sent = ledger.send(payment[0])
        ledger.produce()
        landing = ledger.landings[sent.signature]

        sureness = [ledger.confirmation(landing, landing.height + depth) for depth in range(5)]

        assert sureness == ["processed", "confirmed", "confirmed", "confirmed", "finalized"]


class TestExpiry:
    def test_the_last_valid_block_takes_a_transaction(self, ledger, payment) -> None:
        ledger.produce(19)

        sent = ledger.send(payment[0])
        ledger.produce()

        assert ledger.last_valid_height(sent.transaction.message.recent_blockhash) == ledger.height
        assert sent.signature in ledger.landings

    def test_the_block_after_it_does_not_and_nor_does_any_later_one(self, ledger, payment) -> None:
        ledger.produce(20)

        sent = ledger.send(payment[0])
        ledger.produce(5)
        ledger.send(payment[0])
        ledger.produce(5)

        assert sent.signature not in ledger.landings
        assert ledger.lamports(payment[1]) == 0

    def test_a_blockhash_that_never_was_is_of_no_block(self, ledger, wallet) -> None:
        receiver = ledger.new_address()

        ledger.send(signed(ledger, wallet, pay(wallet, receiver, 1), blockhash=Hash.hash(b"elsewhere")))
        ledger.produce()

        assert ledger.lamports(receiver) == 0

    def test_a_transaction_that_replaces_an_expired_one_lands(self, ledger, wallet) -> None:
        receiver = ledger.new_address()
        ledger.faults.append(Expiring())
        expired = ledger.send(signed(ledger, wallet, pay(wallet, receiver, LAMPORTS)))
        ledger.produce(21)

        replacement = ledger.send(signed(ledger, wallet, pay(wallet, receiver, LAMPORTS)))
        ledger.produce()

        assert list(ledger.landings) == [replacement.signature]
        assert expired.signature != replacement.signature
        assert ledger.lamports(receiver) == LAMPORTS


class TestSending:
    def test_the_same_bytes_land_once_however_often_they_are_sent(self, ledger, payment) -> None:
        for _ in range(3):
            sent = ledger.send(payment[0])
            ledger.produce()

        assert sent.times == 3
        assert ledger.lamports(payment[1]) == LAMPORTS

    def test_what_somebody_else_signed_is_refused(self, ledger, wallet, payment) -> None:
        forged = bytearray(payment[0])
        forged[1] ^= 1

        with pytest.raises(TransactionRefused, match="signature verification failure"):
            ledger.send(bytes(forged))

    def test_what_fits_no_packet_is_refused(self, ledger, wallet) -> None:
        with pytest.raises(TransactionRefused, match="at most 1232"):
            ledger.send(signed(ledger, wallet, memo(wallet, "x" * 1200)))

    def test_bytes_that_are_no_transaction_are_refused(self, ledger) -> None:
        with pytest.raises(TransactionRefused, match="not a transaction"):
            ledger.send(b"\x01\x02")

    def test_who_cannot_pay_the_fee_never_gets_into_a_block(self, ledger) -> None:
        poor = ledger.new_wallet(4999)

        sent = ledger.send(signed(ledger, poor, memo(poor, "hello")))
        ledger.produce()

        assert sent.signature not in ledger.landings

    def test_a_failed_instruction_lands_pays_its_fee_and_undoes_the_rest(self, ledger, wallet) -> None:
        receiver = ledger.new_address()

        sent = ledger.send(
            signed(ledger, wallet, pay(wallet, receiver, LAMPORTS), pay(wallet, receiver, 99 * LAMPORTS))
        )
        ledger.produce()

        assert ledger.landings[sent.signature].result.error == {"InstructionError": [1, {"Custom": 1}]}
        assert ledger.lamports(receiver) == 0
        assert ledger.lamports(wallet.pubkey()) == 10 * LAMPORTS - 5000

    def test_a_memo_says_which_attempt_at_which_order_a_transaction_is(self, ledger, wallet) -> None:
        sent = ledger.send(
            signed(ledger, wallet, memo(wallet, "oee:1f0c:2"), pay(wallet, ledger.new_address(), LAMPORTS))
        )
        ledger.produce()

        assert (sent.order_id, sent.attempt) == ("1f0c", 2)
        assert ledger.swaps_of("1f0c") == ledger.landings_of("1f0c") == [ledger.landings[sent.signature]]
        assert ledger.landings_of("1f0d") == []

    def test_a_simulation_says_what_would_happen_and_does_not_do_it(self, ledger, wallet, payment) -> None:
        result = ledger.simulate(payment[0])

        assert (result.error, result.units) == (None, 150)
        assert ledger.lamports(payment[1]) == 0


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "blocks"), [(None, 1), (Late(3), 4), (Duplicated(), 1), (SlowlyConfirmed(3), 1)], ids=repr
    )
    def test_what_lands_does_so_after_so_many_blocks(self, ledger, payment, fault: Fault, blocks: int) -> None:
        ledger.faults.append(fault)
        sent = ledger.send(payment[0])

        ledger.produce(blocks - 1)
        assert sent.signature not in ledger.landings
        ledger.produce()

        assert sent.signature in ledger.landings
        assert ledger.lamports(payment[1]) == LAMPORTS

    def test_a_dropped_transaction_lands_once_it_is_sent_again_often_enough(self, ledger, payment) -> None:
        ledger.faults.append(Dropped(resends=2))

        for _ in range(2):
            sent = ledger.send(payment[0])
            ledger.produce(2)
            assert sent.signature not in ledger.landings
        ledger.send(payment[0])
        ledger.produce()

        assert sent.signature in ledger.landings

    def test_an_expiring_transaction_never_lands(self, ledger, payment) -> None:
        ledger.faults.append(Expiring())

        for _ in range(25):
            sent = ledger.send(payment[0])
            ledger.produce()

        assert sent.signature not in ledger.landings

    def test_what_the_network_brings_twice_is_taken_once(self, ledger, payment) -> None:
        ledger.faults.append(Duplicated())

        sent = ledger.send(payment[0])
        ledger.produce()

        assert ledger.already_processed == [sent.signature]
        assert ledger.lamports(payment[1]) == LAMPORTS

    def test_a_slow_one_stays_processed_for_longer(self, ledger, payment) -> None:
        ledger.faults.append(SlowlyConfirmed(5))
        sent = ledger.send(payment[0])
        ledger.produce()
        landing = ledger.landings[sent.signature]

        assert ledger.confirmation(landing, landing.height + 5) == "processed"
        assert ledger.confirmation(landing, landing.height + 6) == "confirmed"

    def test_a_test_may_choose_by_the_transaction(self, ledger, wallet, payment) -> None:
        ledger.fault_of = lambda sent: Expiring() if sent.order_id else None
        meant = ledger.send(signed(ledger, wallet, memo(wallet, "oee:1f0c:1")))
        other = ledger.send(payment[0])

        ledger.produce()

        assert meant.signature not in ledger.landings
        assert other.signature in ledger.landings

    @every_program
    def test_a_swap_may_be_made_to_fail_in_its_block(self, ledger, program: Swap) -> None:
        market = Market(ledger)
        ledger.faults.append(Failing(6005))

        landing = market.swap(program, 10**9, 0, memo(market.wallet, "oee:1f0c:1"))

        assert landing.result.error == {"InstructionError": [1, {"Custom": 6005}]}
        assert market.held(market.base) == market.held(market.quote) == 10**12
        assert ledger.lamports(market.wallet.pubkey()) == LAMPORTS - 5000
        assert ledger.swaps_of("1f0c") == []
        assert len(ledger.landings_of("1f0c")) == 1


class TestSwaps:
    @every_program
    @pytest.mark.parametrize("legacy", [False, True], ids=["version-0", "legacy"])
    def test_a_swap_moves_both_tokens_and_the_price(self, ledger, program: Swap, legacy: bool) -> None:
        market = Market(ledger)

        first = market.swap(program, 10**9, legacy=legacy)
        bought = market.held(market.quote) - 10**12
        second = market.swap(program, 10**9, legacy=legacy)

        assert first.result.error is second.result.error is None
        assert market.held(market.base) == 10**12 - 2 * 10**9
        assert 149_000_000 < market.held(market.quote) - 10**12 - bought < bought < 150_000_000
        assert 20_000 < first.result.units < 60_000

    @every_program
    def test_transfer_fees_are_kept_on_the_way_in_and_out(self, ledger, program: Swap) -> None:
        free, charged = Market(ledger), Market(ledger, TransferFee(100, 10**15))
        free.swap(program, 990_000_000)

        charged.swap(program, 10**9)

        given = free.held(free.quote) - 10**12
        assert charged.held(charged.quote) - 10**12 == given - TransferFee(100, 10**15).of(given)

    @every_program
    def test_the_bound_holds_for_what_arrives(self, ledger, program: Swap) -> None:
        charged = Market(ledger, TransferFee(100, 10**15))
        probe = Market(Ledger(), TransferFee(100, 10**15))
        probe.swap(program, 10**9)
        arrives = probe.held(probe.quote) - 10**12

        refused = charged.swap(program, 10**9, arrives + 1)
        taken = charged.swap(program, 10**9, arrives)

        code = 6005 if program is raydium_swap else 6002
        assert refused.result.error == {"InstructionError": [0, {"Custom": code}]}
        assert taken.result.error is None

    @every_program
    def test_the_units_limit_holds_for_the_programs_own_part(self, ledger, program: Swap) -> None:
        market = Market(ledger)
        units = market.swap(program, 10**9, 0, units_limit(60_000)).result.units

        enough = market.swap(program, 10**8, 0, units_limit(units))
        too_little = market.swap(program, 10**8, 0, units_limit(units - 1000))

        assert enough.result.error is None
        assert too_little.result.error == {"InstructionError": [1, "ComputationalBudgetExceeded"]}

    @every_program
    def test_what_fails_after_the_swap_is_told_at_its_own_place_and_undoes_the_swap(
        self, ledger, program: Swap
    ) -> None:
        market = Market(ledger)
        mints = (market.base, market.quote)
        swap = program(ledger, market.wallet, market.pools[program], mints, 10**9, 0)
        pool_before = ledger.account(market.pools[program]).data

        sent = ledger.send(signed(ledger, market.wallet, swap, pay(market.wallet, ledger.new_address(), 99 * LAMPORTS)))
        ledger.produce()

        assert ledger.landings[sent.signature].result.error == {"InstructionError": [1, {"Custom": 1}]}
        assert market.held(market.base) == 10**12
        assert ledger.account(market.pools[program]).data == pool_before

    @every_program
    def test_who_has_too_little_fails_in_the_token_program(self, ledger, program: Swap) -> None:
        market = Market(ledger)

        landing = market.swap(program, 10**12 + 1)

        assert landing.result.error == {"InstructionError": [0, {"Custom": 1}]}

    @every_program
    def test_a_vault_belongs_to_the_programs_authority_before_and_after(self, ledger, program: Swap) -> None:
        market = Market(ledger)
        market.swap(program, 10**9)
        data = ledger.account(market.pools[program]).data
        start = 72 if program is raydium_swap else 232
        vaults = [Pubkey(data[start : start + 32]), Pubkey(data[start + 32 : start + 64])]

        owners = {bytes(ledger.account(vault).data[32:64]) for vault in vaults}

        authority = ledger.raydium.authority if program is raydium_swap else ledger.meteora.authority
        assert owners == {bytes(authority)}

    @pytest.mark.parametrize(
        ("place", "code"),
        [(1, 2006), (2, 2012), (3, 3012), (4, 3012), (6, 2003), (7, 2003), (8, 3008), (10, 2012), (12, 2012)],
    )
    def test_raydium_refuses_an_account_that_is_not_the_pools(self, ledger, place: int, code: int) -> None:
        landing = Market(ledger).swap(raydium_swap, 10**9, accounts={place: ledger.new_address()})

        assert landing.result.error == {"InstructionError": [0, {"Custom": code}]}

    @pytest.mark.parametrize(
        ("place", "code"),
        [(0, 2012), (1, 3012), (2, 3012), (4, 2001), (5, 2001), (6, 2014), (9, 2023), (12, 2006), (13, 3008)],
    )
    def test_meteora_refuses_an_account_that_is_not_the_pools(self, ledger, place: int, code: int) -> None:
        landing = Market(ledger).swap(meteora_swap, 10**9, accounts={place: ledger.new_address()})

        assert landing.result.error == {"InstructionError": [0, {"Custom": code}]}

    @pytest.mark.parametrize(
        ("settings", "code"), [({"open_time": 1_800_000_009}, 6000), ({"status": 4}, 6000)], ids=str
    )
    def test_raydium_refuses_a_pool_that_is_not_open(self, ledger, settings: dict[str, int], code: int) -> None:
        market = Market(ledger)
        market.pools[raydium_swap] = ledger.new_raydium_pool(market.base, market.quote, (10**12, 10**11), **settings)

        assert market.swap(raydium_swap, 10**9).result.error == {"InstructionError": [0, {"Custom": code}]}
        ledger.produce(25)
        opened = market.swap(raydium_swap, 10**9).result.error is None
        assert opened == ("open_time" in settings)

    @pytest.mark.parametrize("settings", [{"activation_point": 1_800_000_009}, {"status": 1}], ids=str)
    def test_meteora_refuses_a_pool_that_is_not_active(self, ledger, settings: dict[str, int]) -> None:
        market = Market(ledger)
        market.pools[meteora_swap] = ledger.new_meteora_pool(market.base, market.quote, (10**12, 10**11), **settings)

        assert market.swap(meteora_swap, 10**9).result.error == {"InstructionError": [0, {"Custom": 6003}]}
        ledger.produce(25)
        opened = market.swap(meteora_swap, 10**9).result.error is None
        assert opened == ("activation_point" in settings)

    def test_an_account_that_the_transaction_makes_is_there_for_the_swap(self, ledger) -> None:
        market = Market(ledger)
        newcomer = ledger.new_wallet(LAMPORTS)
        ledger.give(newcomer.pubkey(), market.base, 10**9)
        swap = raydium_swap(ledger, newcomer, market.pools[raydium_swap], (market.base, market.quote), 10**9, 1)
        account = swap.accounts[5].pubkey
        addresses = (newcomer.pubkey(), account, newcomer.pubkey(), market.quote.address)
        create = Instruction(
            Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"),
            b"\x01",
            [
                *(AccountMeta(key, key == newcomer.pubkey(), key != market.quote.address) for key in addresses),
                AccountMeta(Pubkey.default(), False, False),
                AccountMeta(market.quote.program, False, False),
            ],
        )

        sent = ledger.send(signed(ledger, newcomer, create, swap))
        ledger.produce()

        landing = ledger.landings[sent.signature]
        assert landing.result.error is None
        place = sent.transaction.message.account_keys.index(account)
        assert landing.before.tokens[place] is None
        assert landing.after.tokens[place].amount == ledger.held(newcomer.pubkey(), market.quote) > 0


def test_two_ledgers_are_alike(ledger: Ledger) -> None:
    """What a test sees does not depend on the run."""
    other = replace(ledger)

    assert ledger.new_address() == other.new_address()
    assert ledger.blockhash() == other.blockhash()


def test_a_pool_that_is_no_pool_is_refused(ledger: Ledger) -> None:
    market = Market(ledger)
    pool = market.pools[meteora_swap]
    account = ledger.account(pool)
    instruction = meteora_swap(ledger, market.wallet, pool, (market.base, market.quote), 10**9, 0)
    assert account is not None
    ledger.put(pool, with_data(account, bytes(1112)))

    sent = ledger.send(signed(ledger, market.wallet, instruction))
    ledger.produce()

    assert ledger.landings[sent.signature].result.error == {"InstructionError": [0, {"Custom": 3002}]}


def test_a_fault_may_be_chosen_knowing_the_transaction(ledger: Ledger, wallet: Keypair) -> None:
    seen: list[Sent] = []
    ledger.fault_of = seen.append

    sent = ledger.send(signed(ledger, wallet, memo(wallet, "oee:1f0c:1")))

    assert seen == [sent]
