"""Signed webhooks: what its owner signed passes, and whatever was touched since does not."""

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.web.problems import RequestError
from chalicelib.web.signatures import LONGEST_ID, TOLERANCE_SECONDS, sign, verify
from tests.builders import NOON

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"pool":"p1","tokenIn":"WIF"}'
SENT = int(NOON.timestamp())
SIGNED = sign(SECRET, "msg_1", SENT, BODY)


def refusal(headers, body=BODY, *, secret=SECRET, now=NOON):
    """Return why a message is refused; neither the secret nor the right signature may be in it."""
    with pytest.raises(RequestError) as refused:
        verify(secret, headers, body, now)
    assert refused.value.status == 401
    detail = refused.value.problem.detail
    assert detail.isprintable()
    assert len(detail) < 300
    told = f"{detail} {refused.value.problem.errors} {refused.value.headers}"
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode(errors="replace") + body
    right = hmac.new(key, signed, hashlib.sha256).digest()
    for kept in (secret, secret.removeprefix("whsec_"), base64.b64encode(right).decode(), right.hex()):
        assert kept not in told
    return detail


# --- Good messages ---


def test_a_signed_message_passes_and_gives_its_id():
    assert verify(SECRET, SIGNED, BODY, NOON) == "msg_1"


def test_a_message_is_signed_as_any_other_tool_signs_it():
    # Calculated with: printf '%s' 'msg_1.1795262400.{"pool":"p1","tokenIn":"WIF"}'
    #   | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary | base64
    assert SIGNED == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795262400",
        "webhook-signature": "v1,8eoEk+0NAz+x2sdUlCkG3xJMD2/TjYToskoX52kNmQQ=",
    }


def test_a_secret_without_the_prefix_is_its_own_key():
    assert sign(KEY.decode(), "msg_1", SENT, BODY) == SIGNED
    assert verify("schlüssel", sign("schlüssel", "msg_1", SENT, BODY), BODY, NOON) == "msg_1"


@given(secret=st.text(min_size=1).filter(lambda text: not text.startswith("whsec_")), body=st.binary())
def test_whatever_the_secret_and_the_body_a_signed_message_passes(secret, body):
    assert verify(secret, sign(secret, "msg_1", SENT, body), body, NOON) == "msg_1"


@pytest.mark.parametrize("seconds", [0, 1, -1, TOLERANCE_SECONDS, -TOLERANCE_SECONDS])
def test_a_message_passes_within_five_minutes_of_its_time(seconds):
    assert TOLERANCE_SECONDS == 300
    assert verify(SECRET, SIGNED, BODY, NOON + timedelta(seconds=seconds)) == "msg_1"


OTHER = sign("another secret", "msg_1", SENT, BODY)["webhook-signature"]
RIGHT = SIGNED["webhook-signature"]


@pytest.mark.parametrize(
    "signatures",
    [
        f"{OTHER} {RIGHT}",
        f"{RIGHT} {OTHER}",
        f"v1a,c2lnbmVk {OTHER} {RIGHT} v2,x",
        f"v1, v1,é v1,%%% , ,, v1 nonsense {RIGHT}",
        f"  {RIGHT}   ",
    ],
)
def test_one_right_signature_among_several_is_enough(signatures):
    assert verify(SECRET, {**SIGNED, "webhook-signature": signatures}, BODY, NOON) == "msg_1"


def test_white_space_around_a_header_is_not_part_of_it():
    assert verify(SECRET, {name: f" {value}\t" for name, value in SIGNED.items()}, BODY, NOON) == "msg_1"


# --- Bad messages ---


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("value", [None, "", "  "], ids=["absent", "empty", "blank"])
def test_a_missing_header_is_named(name, value):
    headers = {**SIGNED, name: value}
    if value is None:
        del headers[name]

    assert f"the header {name} is missing" in refusal(headers)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(301, "is 301.0 s ago"), (300.5, "is 300.5 s ago"), (86_400, "s ago"), (-301, "301.0 s ahead")],
)
def test_a_message_too_old_or_from_the_future_is_refused(seconds, said):
    detail = refusal(SIGNED, now=NOON + timedelta(seconds=seconds))

    assert "webhook-timestamp" in detail
    assert said in detail
    assert "at most 300 s" in detail


def test_a_forged_message_is_not_told_how_its_time_compares():
    detail = refusal({**SIGNED, "webhook-signature": OTHER}, now=NOON + timedelta(hours=1))

    assert "webhook-signature does not fit" in detail


@pytest.mark.parametrize(
    "timestamp",
    [
        "now",
        "-1",
        "1.5",
        "1e9",
        "0x10",
        "1_0",
        "+1",
        "١٧",
        "²",
        "9" * 13,
        "9" * 5000,
        "2026-11-21T12:00:00Z",
        "\0",
        "\ud800",
    ],
)
def test_a_timestamp_that_is_none_is_refused_even_if_signed(timestamp):
    signed = f"msg_1.{timestamp}.".encode(errors="surrogatepass") + BODY
    signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()

    headers = {**SIGNED, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}

    assert "webhook-timestamp" in refusal(headers)


@pytest.mark.parametrize("message_id", ["m\0", "m\n1", "m" * (LONGEST_ID + 1), "\ud800", "\u202e", "\x7f"])
def test_an_id_that_cannot_be_kept_is_refused(message_id):
    assert "webhook-id" in refusal({**SIGNED, "webhook-id": message_id})


def test_an_id_may_have_256_characters_of_any_script():
    for message_id in ("m" * LONGEST_ID, "sürüm-消息"):
        assert verify(SECRET, sign(SECRET, message_id, SENT, BODY), BODY, NOON) == message_id


def test_the_start_of_a_body_cannot_be_passed_off_as_part_of_the_id():
    longer = f"{SENT}.".encode() + BODY
    recorded = sign(SECRET, "msg", SENT, longer)
    assert verify(SECRET, recorded, longer, NOON) == "msg"

    # Signed alike: msg.1795262400.1795262400.{…}
    assert "webhook-id" in refusal({**recorded, "webhook-id": f"msg.{SENT}"}, BODY)


@pytest.mark.parametrize(
    "signatures",
    [
        *("v1", "v1,", "v1,%%%", "v1,é", "v1,\ud800", "v1,\0", "v1,AAAA", "v1,A", "nonsense", ",", ", ,", "v1," * 1000),
        RIGHT.removeprefix("v1,"),
        RIGHT.replace("v1,", "v1a,"),
        RIGHT.replace("v1,", "v2,"),
        RIGHT.replace("v1,", "V1,"),
        RIGHT.replace("v1,", "v1="),
        RIGHT.replace("v1,", "v1,="),
        RIGHT[:-5],
        RIGHT + "AAAA",
        "v1," + base64.b64decode(RIGHT[3:]).hex(),
        OTHER,
        f"{OTHER} {OTHER}",
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_right_signature_is_refused(signatures):
    assert "webhook-signature does not fit" in refusal({**SIGNED, "webhook-signature": signatures})


@pytest.mark.parametrize(
    "secret", ["another secret", SECRET.removeprefix("whsec_"), SECRET[:-4] + "AAA=", "whsec_AAAA"]
)
def test_another_secret_fits_no_message(secret):
    assert "webhook-signature does not fit" in refusal(SIGNED, secret=secret)


# --- Whatever was touched ---


@given(st.data())
def test_a_body_with_any_bit_flipped_is_refused(data):
    body = data.draw(st.binary(min_size=1, max_size=200))
    touched = bytearray(body)
    touched[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))

    refusal(sign(SECRET, "msg_1", SENT, body), bytes(touched))


@given(at=st.integers(0, len(BODY)), more=st.binary(min_size=1, max_size=20))
def test_a_body_that_was_cut_or_lengthened_is_refused(at, more):
    assume(BODY[:at] + more + BODY[at:] != BODY)

    refusal(SIGNED, BODY[:at] + more + BODY[at:])
    if at < len(BODY):
        refusal(SIGNED, BODY[:at])


@given(name=st.sampled_from(("webhook-id", "webhook-timestamp")), data=st.data())
def test_an_id_or_a_timestamp_with_any_character_changed_is_refused(name, data):
    value = SIGNED[name]
    at = data.draw(st.integers(0, len(value) - 1))
    character = data.draw(st.characters() | st.sampled_from("0123456789."))
    assume(character != value[at])

    refusal({**SIGNED, name: value[:at] + character + value[at + 1 :]})


@given(data=st.data())
def test_a_signature_with_any_bit_flipped_is_refused(data):
    signature = bytearray(base64.b64decode(RIGHT.removeprefix("v1,")))
    signature[data.draw(st.integers(0, len(signature) - 1))] ^= data.draw(st.integers(1, 255))

    refusal({**SIGNED, "webhook-signature": f"v1,{base64.b64encode(signature).decode()}"})


@given(st.dictionaries(st.sampled_from(tuple(SIGNED)), st.text()))
def test_whatever_the_headers_hold_the_answer_is_a_refusal(headers):
    refusal(headers)
    if headers:
        refusal({**SIGNED, **headers})


# --- Secrets that keep nothing safe ---


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!!", "whsec_abc", "whsec_é", "whsec_ab cd"])
def test_a_secret_without_a_key_fits_no_message_and_signs_none(secret):
    forged = base64.b64encode(hmac.new(b"", f"msg_1.{SENT}.".encode() + BODY, hashlib.sha256).digest()).decode()

    with pytest.raises(ValueError, match="webhook secret") as refused:
        verify(secret, {**SIGNED, "webhook-signature": f"v1,{forged}"}, BODY, NOON)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(refused.value)

    with pytest.raises(ValueError, match="webhook secret"):
        sign(secret, "msg_1", SENT, BODY)
