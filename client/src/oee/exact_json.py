"""JSON with exact numbers: a Decimal is written digit by digit, and a fraction is read back as a Decimal."""

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value")
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def encode_json(value: object) -> bytes:
    """Write ``value`` as JSON."""
    return _encoder.encode(value)


def decode_json(data: bytes | str, kind: type[Value]) -> Value:
    """Read JSON that is of a kind; no number passes through a float.

    Raises:
        ValueError: ``data`` is not JSON, or not of that kind.
    """
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind, float_hook=Decimal)
    try:
        value: Value = _decoders[kind].decode(data)
    except (RecursionError, ArithmeticError) as error:
        raise ValueError("it is nested too deeply, or holds a number that is out of range") from error
    return value
