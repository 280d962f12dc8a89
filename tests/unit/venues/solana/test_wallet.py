"""A wallet's key: every form it is kept in is read, and no form of it is ever shown."""

import json
import traceback
from base64 import b64encode

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from chalicelib import observability
from chalicelib.observability import logger, redacted
from chalicelib.resources.aws import AwsService
from chalicelib.resources.secrets import Secret
from chalicelib.venues.solana.wallet import WalletKeyError, read_wallet
from tests.clocks import StoppedClock

KEYPAIR = Keypair.from_seed(bytes(range(32)))
KEY = bytes(KEYPAIR)
BASE58 = str(KEYPAIR)
ARRAY = json.dumps(list(KEY))
SETTING = "SOLANA_WALLET_KEY"


@pytest.fixture(autouse=True)
def nothing_is_concealed_yet(monkeypatch):
    monkeypatch.setattr(observability, "_secrets", set())


@pytest.mark.parametrize(
    "text",
    [
        BASE58,
        f"  {BASE58}\n",
        ARRAY,
        json.dumps(list(KEY), separators=(",", ":")) + "\n",
        json.dumps({"key": BASE58}),
        json.dumps({"key": list(KEY), "address": "mine"}, indent=2),
        json.dumps({"key": ARRAY}),
    ],
    ids=["base58", "with spaces", "array", "dense array", "by name", "array by name", "array as text by name"],
)
def test_a_key_is_read_in_every_form_it_is_kept_in(text):
    wallet = read_wallet(text, SETTING)

    assert wallet.address == str(KEYPAIR.pubkey())
    assert wallet.keypair == KEYPAIR


MISMATCHED = KEY[:32] + bytes(Keypair.from_seed(bytes(32)).pubkey())
BAD_KEYS = {
    "empty": "",
    "no base58": "0OIl" * 22,
    "one digit less": BASE58[:-1],
    "one digit more": BASE58 + "2",
    "an address": str(KEYPAIR.pubkey()),
    "half an array": json.dumps(list(KEY[:32])),
    "one number more": json.dumps([*KEY, 1]),
    "a number too large": json.dumps([*KEY[:-1], 256]),
    "a negative number": json.dumps([*KEY[:-1], -1]),
    "a fraction": json.dumps([*KEY[:-1], 0.5]),
    "text among numbers": json.dumps([*KEY[:-1], "1"]),
    "an open array": ARRAY[:-1],
    "a number": "64",
    "another object": json.dumps({"password": BASE58}),
    "nothing by name": json.dumps({"key": None}),
    "halves of two keys in base58": str(type(KEYPAIR.sign_message(b"")).from_bytes(MISMATCHED)),
    "halves of two keys": json.dumps(list(MISMATCHED)),
    "zeros": "1" * 64,
}


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_what_is_no_key_is_refused_with_the_setting_and_what_is_allowed_and_nothing_of_it(text):
    with pytest.raises(WalletKeyError) as raised:
        read_wallet(text, SETTING)

    told = "".join(traceback.format_exception(raised.value))
    assert str(raised.value).startswith("SOLANA_WALLET_KEY does not hold a wallet's key")
    assert "64 bytes in base58" in str(raised.value)
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    for part in {text[:20], text[-20:], BASE58[:20], ARRAY[1:20]} - {""}:
        assert len(part) < 8 or part not in told


FORMS = {
    "base58": BASE58,
    "array": ARRAY,
    "dense array": json.dumps(list(KEY), separators=(",", ":")),
    "hex": KEY.hex(),
    "base64": b64encode(KEY).decode(),
    "bytes": repr(KEY),
    "secret half in base58": str(Pubkey.from_bytes(KEY[:32])),
    "secret half as array": json.dumps(list(KEY[:32])),
    "secret half in hex": KEY[:32].hex(),
    "secret half in base64": b64encode(KEY[:32]).decode(),
    "secret half as bytes": repr(KEY[:32]),
}


@pytest.mark.parametrize("given", [BASE58, ARRAY, json.dumps({"key": BASE58})], ids=["base58", "array", "by name"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_no_form_of_a_key_is_logged(log, given, form):
    read_wallet(given, SETTING)

    logger.error("it was %s", form, key=form)

    written = json.dumps(log())
    assert "***" in written
    assert form[10:40] not in written
    assert json.dumps(form)[10:40] not in written


def test_a_key_that_is_refused_is_not_logged_either(log):
    with pytest.raises(WalletKeyError):
        read_wallet(BASE58[:-1], SETTING)

    assert redacted(f"given: {BASE58[:-1]}") == "given: ***"


def test_a_wallet_shows_its_address_only():
    wallet = read_wallet(BASE58, SETTING)

    assert repr(wallet) == str(wallet) == f"Wallet({KEYPAIR.pubkey()})"
    assert not hasattr(wallet, "__dict__")


def test_a_key_from_secrets_manager_is_read_and_concealed(monkeypatch, log):
    answer = json.dumps({"SecretString": json.dumps({"key": BASE58})})
    monkeypatch.setattr(AwsService, "send", lambda *_: answer.encode())
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    wallet = read_wallet(Secret("arn", StoppedClock()).read(), "SOLANA_WALLET_SECRET_ARN")

    logger.error(f"it was {BASE58}")
    assert wallet.address == str(KEYPAIR.pubkey())
    assert BASE58 not in json.dumps(log())
