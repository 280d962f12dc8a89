"""JSON with exact numbers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.exact_json import decode_json, encode_json

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)


@given(DECIMALS)
def test_a_number_is_read_back_as_it_was_written(number):
    assert decode_json(encode_json([number])) == [number]


@given(st.integers())
def test_a_whole_number_of_any_length_is_read_exactly(number):
    assert decode_json(str(number)) == number


def test_a_number_is_written_digit_by_digit():
    written = encode_json({"a": Decimal("0.10"), "b": Decimal("123456789012345678901234567890.123456789")})

    assert written == b'{"a":0.10,"b":123456789012345678901234567890.123456789}'


@pytest.mark.parametrize("text", ["0.1", "1e400", "1e-400", "0.30000000000000004441", "9" * 5000])
def test_no_number_passes_through_a_float(text):
    number = decode_json(text)

    assert not isinstance(number, float)
    assert number == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "'a'", "{'a': 1}", "[1,]", "01", "+1", ".5", "NaN", "Infinity", '"\\ud800"', '"\x01"'),
        b"\xff",
        "[" * 15_000,
        "1e99999999999999999999",
        # After a number that is too long for the first parser, the second one is as strict.
        f"[{'9' * 5000}, NaN]",
        f"[{'9' * 5000}, {'[' * 15_000}",
        f"[{'9' * 5000}, 1e99999999999999999999]",
        f'[{"9" * 5000}, "\\ud800"]',
        f'[{"9" * 5000}, {{"\\ud800": 1}}]',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_json_or_beyond_reading_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        decode_json(text)
