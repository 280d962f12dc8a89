"""The clusters: their addresses are right, and the tokens that settings add to them fit."""

import pytest
from solders.pubkey import Pubkey

from chalicelib.config import SOLANA_CLUSTERS, SettingsError, load_settings
from chalicelib.orders.tokens import TOKENS
from chalicelib.venues.solana.clusters import CLUSTERS, MAINNET, SPL_TOKEN, TOKEN_2022, tokens_of

REAL = {
    "USE_REAL_DEVNET": "true",
    "SOLANA_WALLET_KEY": "key",
    "SOLANA_MAX_PER_ORDER": "SOL=0.5",
    "SOLANA_MAX_PER_DAY": "SOL=2",
}
OTHER = "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R"
EACH_CLUSTER = pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=lambda cluster: cluster.name)


def settings(**environment):
    return load_settings({**REAL, **environment}).solana


def problems(**environment):
    with pytest.raises(SettingsError) as refused:
        tokens_of(settings(**environment))
    return refused.value.problems


def test_every_cluster_of_the_settings_is_known():
    assert {name: cluster.rpc_url for name, cluster in CLUSTERS.items()} == SOLANA_CLUSTERS


@EACH_CLUSTER
@pytest.mark.parametrize(
    ("venue", "seed"), [("raydium", b"vault_and_lp_mint_auth_seed"), ("meteora", b"pool_authority")]
)
def test_the_authority_of_a_venue_is_derived_from_its_program(cluster, venue, seed):
    program = getattr(cluster, venue)

    authority, _ = Pubkey.find_program_address([seed], Pubkey.from_string(program.address))
    assert str(authority) == program.authority


@EACH_CLUSTER
def test_every_token_has_an_address_and_the_decimals_of_the_simulation(cluster):
    for symbol, token in cluster.tokens.items():
        assert str(Pubkey.from_string(token.mint)) == token.mint
        assert token.decimals == TOKENS[symbol].decimals
        assert token.program == SPL_TOKEN


def test_on_mainnet_all_tokens_can_be_swapped_that_the_simulation_has():
    assert list(MAINNET.tokens) == list(TOKENS)


@pytest.mark.parametrize(
    ("cluster", "url"),
    [
        ("devnet", "https://explorer.solana.com/tx/5ig?cluster=devnet"),
        ("mainnet-beta", "https://explorer.solana.com/tx/5ig"),
    ],
)
def test_a_transaction_is_looked_up_where_its_cluster_is_shown(cluster, url):
    assert CLUSTERS[cluster].explorer_url("5ig") == url


def test_settings_add_tokens_and_replace_those_that_are_known():
    tokens = tokens_of(settings(SOLANA_TOKENS=f"USDC={OTHER}:2,FEE={MAINNET.tokens['JUP'].mint}:9:token-2022"))

    assert list(tokens) == ["SOL", "USDC", "FEE"]
    assert tokens["USDC"] == (OTHER, 2, SPL_TOKEN)
    assert tokens["FEE"] == (MAINNET.tokens["JUP"].mint, 9, TOKEN_2022)
    assert tokens["SOL"] == MAINNET.tokens["SOL"]


def test_two_symbols_of_one_token_are_refused():
    (problem,) = problems(SOLANA_TOKENS=f"ONE={OTHER}:6,TWO={OTHER}:6")

    assert problem.startswith(
        f"SOLANA_TOKENS='TWO={OTHER}' cannot be used: allowed is a mint that has no symbol yet (ONE"
    )


def test_a_cap_of_an_unknown_token_names_those_that_are_known():
    found = problems(SOLANA_MAX_PER_ORDER="JUP=1", SOLANA_MAX_PER_DAY="JUP=1")

    known = "cannot be used: allowed is one of SOL, USDC; SOLANA_TOKENS makes others known"
    assert found == [f"SOLANA_MAX_PER_ORDER='JUP=1' {known}", f"SOLANA_MAX_PER_DAY='JUP=1' {known}"]


def test_a_cap_has_no_more_decimals_than_its_token():
    (problem,) = problems(SOLANA_MAX_PER_ORDER="SOL=0.0000000001")

    assert problem == "SOLANA_MAX_PER_ORDER='SOL=0.0000000001' cannot be used: allowed is at most 9 decimals"
    assert tokens_of(settings(SOLANA_MAX_PER_ORDER="SOL=0.000000001"))
