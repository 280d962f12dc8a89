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
        ValueError: ``data`` is not JSON.
    """
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        # An integer of thousands of digits is valid JSON, yet more than msgspec reads.
        return json.loads(data, parse_float=Decimal, parse_int=Decimal)
