"""The fields of a request, and what each kind of field may hold."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from chalicelib.orders.tokens import EXACT, PRICE_DIGITS, TOKENS
from chalicelib.web.problems import invalid, shown

LARGEST_BODY = 16 * 1024
"""In bytes; API Gateway itself takes 10 MB of a request and 128 KB of a message."""
LARGEST_AMOUNT = Decimal(10) ** 12
MOST_DIGITS = 40
LARGEST_SLIPPAGE = Decimal("0.5")
LARGEST_PRICE = Decimal(10) ** 15
LONGEST_WAIT = timedelta(days=366)
SECOND_SPELLINGS = {"type": "orderType", "amountIn": "amount", "targetPrice": "limitPrice"}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=StrEnum)


class Refused(Exception):
    """A value is not allowed; the message says what is."""


_REQUIRED: Any = object()


class Fields:
    """The fields of one request: read one by one, with all errors collected."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.errors: dict[str, str] = {}
        self._known: list[str] = []
        self._given: dict[str, tuple[str, Any]] = {}
        self._spellings: dict[str, str] = {}
        for spelling, value in values.items():
            name = SECOND_SPELLINGS.get(spelling, spelling)
            if name in self._given:
                self.errors[spelling] = f"is the same field as {self._given[name][0]}; send one of the two"
            self._given[name] = (spelling, value)
            if value is not None:
                self._spellings[name] = spelling

    def read(self, name: str, reader: Callable[[Any], Value], default: Any = _REQUIRED) -> Any:
        """Return the field's value. What a wrong field returns is of no use: ``finish`` will raise."""
        self._known.append(name)
        spelling, value = self._given.pop(name, (name, None))
        if value is None:
            if default is not _REQUIRED:
                return default
            self.errors[spelling] = "is required"
            return None
        try:
            return reader(value)
        except Refused as refused:
            self.errors[spelling] = str(refused)
            return None

    def require(self, name: str, problem: str) -> None:
        """Refuse the request if an optional field is missing."""
        if name not in self._spellings:
            self.errors[name] = problem

    def forbid(self, name: str, problem: str) -> None:
        """Refuse the request if an optional field was given."""
        if name in self._spellings:
            self.errors[self._spellings[name]] = problem

    def finish(self) -> None:
        """Refuse the request if a field was wrong, or is not known: in a money API a typo must not pass.

        Raises:
            RequestError: naming each of those fields.
        """
        for spelling, _ in self._given.values():
            self.errors[shown(spelling).strip("'\"")] = f"is not a known field; known are {', '.join(self._known)}"
        if self.errors:
            raise invalid(self.errors)


def text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise Refused(f"{shown(value)} is not allowed; expected are 1 to 128 printable characters")
    return value


def one_of(choices: type[Choice]) -> Callable[[Any], Choice]:
    allowed = {choice.value: choice for choice in choices}

    def read(value: Any) -> Choice:
        if not isinstance(value, str) or value not in allowed:
            raise Refused(f"{shown(value)} is not allowed; expected is {' or '.join(allowed)}")
        return allowed[value]

    return read


def token(value: Any) -> str:
    if not isinstance(value, str) or value not in TOKENS:
        raise Refused(f"{shown(value)} is not a known token; known are {', '.join(TOKENS)}")
    return value


def number_of(value: Any) -> Decimal:
    if isinstance(value, str) and len(value) <= LARGEST_BODY and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Refused(f"{shown(value)} is not a number; expected is a number, or one in a string")
    number = Decimal(value)
    if len(number.as_tuple().digits) > MOST_DIGITS:
        raise Refused(f"has {len(number.as_tuple().digits)} digits; at most {MOST_DIGITS} are allowed")
    if abs(number.adjusted()) > MOST_DIGITS:
        # Written out, 1e-999999999 would fill the memory.
        raise Refused(f"{number} is out of range")
    return number


def amount(value: Any, decimals: int | None) -> Decimal:
    number = number_of(value)
    if number <= 0:
        raise Refused(f"{number} is not allowed; an amount is greater than 0")
    if number > LARGEST_AMOUNT:
        raise Refused(f"{number} is too large; at most {LARGEST_AMOUNT:f} is allowed")
    exponent = EXACT.normalize(number).as_tuple().exponent
    if decimals is not None and isinstance(exponent, int) and -exponent > decimals:
        raise Refused(f"{number} has too many digits after the point; this token has {decimals}")
    return Decimal(f"{number:f}")


def price(value: Any) -> Decimal:
    number = number_of(value)
    if number <= 0:
        raise Refused(f"{number} is not allowed; a price is greater than 0")
    if number > LARGEST_PRICE:
        raise Refused(f"{number} is too large; at most {LARGEST_PRICE:f} is allowed")
    # Executed prices are rounded to as many: with more, one that keeps to its limit could look worse than it.
    if len(EXACT.normalize(number).as_tuple().digits) > PRICE_DIGITS:
        raise Refused(f"{number} has too many digits; a price has at most {PRICE_DIGITS} significant ones")
    return Decimal(f"{number:f}")


def venue(known: Collection[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise Refused(f"{shown(value)} is not a known venue; known are {', '.join(known)}")
        return str(value)

    return read


def time_after(earliest: datetime, now: datetime) -> Callable[[Any], datetime]:
    def read(value: Any) -> datetime:
        expected = "expected is a time with its zone, such as 2030-01-31T12:00:00Z"
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise Refused(f"{shown(value)} is not allowed; {expected}")
        try:
            # RFC 3339 allows a small t and z, fromisoformat does not.
            time = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as wrong:
            raise Refused(f"{shown(value)} is not a time; {expected}") from wrong
        if time <= earliest:
            raise Refused(f"{value} is in the past; it is {now:%Y-%m-%dT%H:%M:%SZ} now")
        if time > now + LONGEST_WAIT:
            raise Refused(f"{value} is too far away; at most {LONGEST_WAIT.days} days are allowed")
        return time

    return read


def slippage(value: Any) -> Decimal:
    number = number_of(value)
    if not 0 <= number <= LARGEST_SLIPPAGE:
        raise Refused(f"{number} is not allowed; expected is a fraction from 0 to {LARGEST_SLIPPAGE}")
    if number != round(number, 6):
        raise Refused(f"{number} has too many digits; at most 6 after the point are allowed")
    return Decimal(f"{number:f}")


def whole_number(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = number_of(value)
        if number != number.to_integral_value() or not low <= number <= high:
            raise Refused(f"{number} is not allowed; expected is a whole number from {low} to {high}")
        return int(number)

    return read


def list_of(read_item: Callable[[Any], Value], *, most: int) -> Callable[[Any], list[Value]]:
    def read(value: Any) -> list[Value]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise Refused(f"{shown(value)} is not allowed; expected is a list of 1 to {most}")
        return [read_item(item) for item in value]

    return read


def order_id(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Refused(f"{shown(value)} is not an order id; expected is a UUID")
    return value.lower()
