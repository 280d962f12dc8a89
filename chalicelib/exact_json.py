"""JSON with exact numbers: a Decimal is written digit by digit, and a fraction is read back as a Decimal."""

import json
from decimal import Decimal
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def encode_json(value: object) -> bytes:
    """Write ``value`` as JSON."""
    return _encoder.encode(value)


def decode_json(data: bytes | str) -> Any:
    """Read JSON; no number passes through a float.

    Raises:
        ValueError: ``data`` is not JSON, or is nested too deeply, or holds a number beyond any Decimal.
    """
    try:
        return _decode(data)
    except (RecursionError, ArithmeticError) as error:
        raise ValueError("it is nested too deeply, or holds a number that is out of range") from error


def _decode(data: bytes | str) -> Any:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        # An integer of thousands of digits is valid JSON, yet more than msgspec reads.
        value = json.loads(data, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)
        # Python's own parser takes half of a surrogate pair, which is no text: nothing could write it again.
        encode_json(value)
        return value


def _refuse_constant(name: str) -> None:
    # Python's own parser takes NaN and Infinity, which JSON does not have.
    raise ValueError(f"{name} is not a JSON value")
