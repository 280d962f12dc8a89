"""Making pools: addresses as real pools have them, and instructions as the programs' sources lay them out.

The programs themselves are not at hand; ``solana_vectors.json`` holds pools that they made.
"""

import base64
import struct

from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from chalicelib.venues.solana.clusters import DEVNET, MAINNET, SPL_TOKEN
from chalicelib.venues.solana.pool import address_at
from infra.pool_creation import (
    METEORA_HIGHEST_SQRT_PRICE,
    METEORA_LOWEST_SQRT_PRICE,
    Deposit,
    liquidity_of,
    meteora_pool,
    meteora_vault,
    raydium_config,
    raydium_observation,
    raydium_pool,
    raydium_vault,
    read_raydium_config,
    sqrt_price_of,
)
from tests.unit.venues.measured_swaps import METEORA_SWAPS, RAYDIUM_SWAPS

WALLET, POSITION = (str(Pubkey([number] * 32)) for number in (7, 8))
LOW_MINT, HIGH_MINT = (str(Pubkey([number] * 32)) for number in (1, 2))
DEPOSITS = (Deposit(HIGH_MINT, 4_000), Deposit(LOW_MINT, 1_000))


def test_addresses_are_derived_as_those_of_real_raydium_pools():
    swap = RAYDIUM_SWAPS[0]
    pool, data = swap["pool"], base64.b64decode(swap["poolData"])
    mint_0, mint_1 = address_at(data, 168), address_at(data, 200)

    assert raydium_vault(MAINNET.raydium, pool, mint_0) == address_at(data, 72)
    assert raydium_vault(MAINNET.raydium, pool, mint_1) == address_at(data, 104)
    assert raydium_observation(MAINNET.raydium, pool) == address_at(data, 296)
    # Raydium's first config on mainnet, as its API lists it.
    assert raydium_config(MAINNET.raydium, 0) == "D4FPEruKEHrG5TenZ2mpDGEfu1iUvTiqBxvpU8HLBvC2"


def test_addresses_are_derived_as_those_of_real_meteora_pools():
    swap = METEORA_SWAPS[0]
    data = base64.b64decode(swap["poolData"])

    for mint, vault in ((168, 232), (200, 264)):
        assert meteora_vault(MAINNET.meteora, swap["pool"], address_at(data, mint)) == address_at(data, vault)


def test_a_real_config_of_raydium_is_open_and_says_its_fee():
    config = read_raydium_config(base64.b64decode(RAYDIUM_SWAPS[0]["ammConfigData"]))

    assert not config.closed
    assert config.pool_fee >= 0
    data = bytearray(236)
    data[9], data[36:44] = 1, struct.pack("<Q", 150_000_000)
    assert read_raydium_config(bytes(data)) == (True, 150_000_000)


def flags(instruction):
    return [("s" if a.is_signer else "-") + ("w" if a.is_writable else "-") for a in instruction.accounts]


def test_a_raydium_pool_is_made_as_initialize_asks():
    made = raydium_pool(DEVNET.raydium, raydium_config(DEVNET.raydium, 0), WALLET, DEPOSITS)
    accounts = [str(account.pubkey) for account in made.instruction.accounts]

    assert str(made.instruction.program_id) == DEVNET.raydium.address
    assert flags(made.instruction) == ["sw", "--", "--", "-w", "--", "--", *["-w"] * 8, *["--"] * 6]
    assert accounts[:6] == [
        *(WALLET, raydium_config(DEVNET.raydium, 0), DEVNET.raydium.authority, made.address),
        *(LOW_MINT, HIGH_MINT),  # the smaller one first, whatever the order of the deposits
    ]
    low, high = DEPOSITS[1], DEPOSITS[0]
    assert accounts[7:9] == [low.account(WALLET), high.account(WALLET)]
    assert accounts[10:12] == [raydium_vault(DEVNET.raydium, made.address, mint) for mint in (LOW_MINT, HIGH_MINT)]
    assert accounts[13] == raydium_observation(DEVNET.raydium, made.address)
    assert accounts[14:17] == [SPL_TOKEN] * 3
    assert made.instruction.data == bytes.fromhex("afaf6d1f0d989bed") + struct.pack("<QQQ", 1_000, 4_000, 0)


def test_a_meteora_pool_is_made_as_initialize_customizable_pool_asks():
    made = meteora_pool(DEVNET.meteora, WALLET, POSITION, DEPOSITS)
    accounts = [str(account.pubkey) for account in made.instruction.accounts]

    assert flags(made.instruction) == [
        *("--", "sw", "-w", "sw", "--", "-w", "-w", "--", "--"),
        *("-w", "-w", "-w", "-w", "--", "--", "--", "--", "--", "--"),
    ]
    assert accounts[:2] == [WALLET, POSITION]
    assert accounts[3:6] == [WALLET, DEVNET.meteora.authority, made.address]
    assert accounts[7:9] == [HIGH_MINT, LOW_MINT]  # a and b as they were deposited
    assert accounts[9:11] == [meteora_vault(DEVNET.meteora, made.address, mint) for mint in (HIGH_MINT, LOW_MINT)]
    assert accounts[11:13] == [deposit.account(WALLET) for deposit in DEPOSITS]
    assert accounts[-1] == str(made.instruction.program_id) == DEVNET.meteora.address


def test_a_meteora_pool_has_one_fee_all_prices_and_opens_at_once():
    data = meteora_pool(DEVNET.meteora, WALLET, POSITION, DEPOSITS).instruction.data
    half = 2**63  # the square root of 1/4 in Q64.64

    assert data[:8] == bytes([20, 161, 241, 24, 189, 221, 180, 2])
    cliff, periods, frequency, reduction, mode = struct.unpack_from("<QHQQB", data, 8)
    assert (cliff, periods, frequency, reduction, mode) == (2_500_000, 0, 0, 0, 0)
    assert data[35:39] == bytes(4)  # nothing compounded, padding, no dynamic fee
    lowest, highest = (int.from_bytes(data[at : at + 16], "little") for at in (39, 55))
    assert (lowest, highest) == (METEORA_LOWEST_SQRT_PRICE, METEORA_HIGHEST_SQRT_PRICE)
    assert data[71] == 0  # no alpha vault
    liquidity, sqrt_price = (int.from_bytes(data[at : at + 16], "little") for at in (72, 88))
    assert sqrt_price == half
    assert liquidity == liquidity_of(4_000, 1_000, half)
    assert data[104:] == bytes([1, 0, 0])  # by timestamp, fees in both tokens, from now on


def test_both_orders_of_a_pair_are_one_pool():
    pools = {meteora_pool(DEVNET.meteora, WALLET, POSITION, order).address for order in (DEPOSITS, DEPOSITS[::-1])}
    pools |= {raydium_pool(DEVNET.raydium, WALLET, WALLET, order).address for order in (DEPOSITS, DEPOSITS[::-1])}

    assert len(pools) == 2


def rounded_up(numerator, denominator):
    return -(-numerator // denominator)


@given(st.integers(10**6, 10**15), st.integers(10**6, 10**15))
def test_liquidity_takes_no_more_than_is_there_and_nearly_all_of_it(amount_a, amount_b):
    price = sqrt_price_of(amount_a, amount_b)
    liquidity = liquidity_of(amount_a, amount_b, price)

    taken_a = rounded_up(liquidity * (METEORA_HIGHEST_SQRT_PRICE - price), price * METEORA_HIGHEST_SQRT_PRICE)
    taken_b = rounded_up(liquidity * (price - METEORA_LOWEST_SQRT_PRICE), 2**128)
    assert taken_a <= amount_a
    assert taken_b <= amount_b
    assert taken_a >= amount_a * 99 // 100
    assert taken_b >= amount_b * 99 // 100
    assert liquidity < 2**128
