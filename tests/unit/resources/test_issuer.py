"""An issuer's keys: found, kept, replaced, and never asked for because somebody forges tokens."""

import json

import pytest

from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.circuit_breaker import OPEN_SECONDS
from chalicelib.resources.issuer import COOL_DOWN_SECONDS, KEYS_SECONDS, LARGEST_ANSWER, Issuer
from tests.clocks import StoppedClock
from tests.issuer import CONFIGURATION, JWKS, private_key, public_jwk


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def keys(issuer, clock):
    """The engine's view of the issuer."""
    return Issuer(issuer.url, clock)


def numbers(name):
    return private_key(name).public_key().public_numbers()


def test_keys_are_found_where_the_issuer_says_and_kept(issuer, keys):
    for _ in range(3):
        assert keys.key("first").public_key.public_numbers() == numbers("first")

    assert issuer.asked == [CONFIGURATION, JWKS]


def test_an_issuer_that_writes_itself_with_a_slash_is_found_as_well(issuer, clock):
    issuer.url += "/"

    assert Issuer(issuer.url, clock).key("first") is not None
    assert issuer.asked == [CONFIGURATION, JWKS]


def test_a_key_that_is_new_is_fetched_when_a_token_names_it(issuer, keys, clock):
    keys.key("first")
    issuer.keys = [public_jwk("second"), public_jwk("first")]
    clock.pass_time(COOL_DOWN_SECONDS)

    assert keys.key("second").public_key.public_numbers() == numbers("second")
    assert keys.key("first") is not None
    assert issuer.asked == [CONFIGURATION, JWKS] * 2


def test_forged_key_ids_cause_one_request_in_a_cool_down(issuer, keys, clock):
    keys.key("first")
    for number in range(100):
        assert keys.key(f"forged {number}") is None
    assert issuer.asked == [CONFIGURATION, JWKS]

    clock.pass_time(COOL_DOWN_SECONDS)
    for number in range(100):
        assert keys.key(f"forged {number}") is None

    assert issuer.asked == [CONFIGURATION, JWKS] * 2


def test_forged_key_ids_cause_no_more_requests_while_the_issuer_is_down(issuer, keys, clock):
    keys.key("first")
    issuer.fails()
    clock.pass_time(COOL_DOWN_SECONDS)

    for number in range(100):
        assert keys.key(f"forged {number}") is None

    assert len(issuer.asked) == 3


def test_a_key_that_was_withdrawn_is_forgotten_when_the_keys_are_old(issuer, keys, clock):
    keys.key("first")
    issuer.keys = [public_jwk("second")]
    clock.pass_time(KEYS_SECONDS - 1)
    assert keys.key("first") is not None

    clock.pass_time(1)

    assert keys.key("first") is None


def test_known_keys_are_kept_while_the_issuer_is_down(issuer, keys, clock):
    keys.key("first")
    issuer.fails()

    for _ in range(5):
        clock.pass_time(KEYS_SECONDS)
        assert keys.key("first") is not None


def test_a_process_that_knows_no_keys_says_that_the_issuer_is_down_and_asks_again_soon(issuer, keys, clock):
    issuer.fails()
    for _ in range(3):
        with pytest.raises(ResourceUnavailable, match="the token issuer is not available"):
            keys.key("first")
    assert issuer.asked == [CONFIGURATION]

    issuer.instead.clear()
    clock.pass_time(OPEN_SECONDS)

    assert keys.key("first") is not None


def test_an_issuer_that_cannot_be_reached_is_unavailable(clock):
    with pytest.raises(ResourceUnavailable):
        Issuer("http://127.0.0.1:1", clock).key("first")


def json_of(document):
    return 200, json.dumps(document).encode(), {}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (CONFIGURATION, (200, b"no JSON", {})),
        (CONFIGURATION, json_of({})),
        (CONFIGURATION, json_of([])),
        (JWKS, json_of({"keys": []})),
        (JWKS, json_of({"keys": "none"})),
        (JWKS, json_of({"keys": [1, {"kid": 2}, {"kid": "first", "kty": "RSA"}]})),
        (JWKS, (200, b"", {})),
    ],
    ids=[
        "no JSON",
        "nothing",
        "a list",
        "no keys",
        "no list of keys",
        "no usable keys",
        "an empty answer",
    ],
)
def test_what_is_not_an_issuers_answer_is_not_believed(issuer, keys, path, answer):
    issuer.instead[path] = answer

    with pytest.raises(ResourceUnavailable):
        keys.key("first")


def test_keys_of_an_issuer_that_writes_itself_otherwise_are_not_believed(issuer, keys):
    issuer.instead[CONFIGURATION] = json_of({"issuer": issuer.url + "/", "jwks_uri": issuer.url + JWKS})

    with pytest.raises(ResourceUnavailable, match="it writes itself"):
        keys.key("first")


@pytest.mark.parametrize("path", [CONFIGURATION, JWKS])
def test_an_issuer_that_leads_elsewhere_is_not_followed(issuer, keys, path):
    issuer.instead["/elsewhere"] = issuer.answer(path)
    issuer.instead[path] = (302, b"", {"Location": "/elsewhere"})

    with pytest.raises(ResourceUnavailable, match="302"):
        keys.key("first")


def test_an_answer_without_end_is_not_read(issuer, keys):
    issuer.instead[JWKS] = json_of({"keys": issuer.keys, "more": "x" * LARGEST_ANSWER})

    with pytest.raises(ResourceUnavailable, match="has more than 262144 bytes"):
        keys.key("first")


def test_keys_are_not_fetched_from_an_address_that_others_could_change(issuer, keys):
    issuer.instead[CONFIGURATION] = json_of({"issuer": issuer.url, "jwks_uri": "ftp://127.0.0.1/keys"})

    with pytest.raises(ResourceUnavailable, match="is not an https URL"):
        keys.key("first")


@pytest.mark.parametrize(
    "member", [{"use": "enc"}, {"kty": "oct", "k": "c2VjcmV0"}, {"n": 1}], ids=["for encryption", "a secret", "broken"]
)
def test_a_key_that_signs_nothing_is_passed_over(issuer, keys, member):
    issuer.keys = [public_jwk("second", **member), public_jwk("first")]

    assert keys.key("second") is None
    assert keys.key("first") is not None
