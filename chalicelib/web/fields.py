"""The fields of a request: what each may hold, said once, for who reads it and for the contract.

A ``Kind`` is a reader and the JSON Schema of what it takes. What JSON Schema cannot say, such as how many decimals a
token has, the schema's description says; ``tests/e2e/test_contract.py`` lists those rules.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from chalicelib.orders.tokens import EXACT, PRICE_DIGITS, TOKENS
from chalicelib.web.problems import invalid, shown

LARGEST_BODY = 16 * 1024
"""In bytes; API Gateway itself takes 10 MB of a request and 128 KB of a message."""
LARGEST_AMOUNT = Decimal(10) ** 12
MOST_DIGITS = 40
LARGEST_SLIPPAGE = Decimal("0.5")
LARGEST_PRICE = Decimal(10) ** 15
LONGEST_TEXT = 128
LONGEST_WAIT = timedelta(days=366)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_UNPRINTABLE = r"\u0000-\u001f\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff"
"""For a pattern: what is met of it. Unicode has more, which no two languages' patterns name alike."""
Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=StrEnum)
Schema = Mapping[str, Any]
"""JSON Schema 2020-12."""


class Refused(Exception):
    """A value is not allowed; the message says what is."""


@dataclass(frozen=True, eq=False)
class Kind(Generic[Value]):
    """What a field may hold: ``read`` returns it or raises ``Refused``, ``schema`` tells clients the same."""

    read: Callable[[Any], Value]
    described: Schema | Callable[[], Schema]
    """As it is, or when it is asked for: which tokens are traded is known only once the settings are read."""

    @property
    def schema(self) -> Schema:
        return self.described() if callable(self.described) else self.described


_REQUIRED: Any = object()


@dataclass(frozen=True, kw_only=True, eq=False)
class Field(Generic[Value]):
    """A field by its name; without a ``default`` it is required. ``about`` tells clients what it is for."""

    name: str
    kind: Kind[Value]
    about: str
    default: Any = _REQUIRED
    second_spelling: str | None = None
    """One of the two documented clients calls it so."""
    needless: str = ""
    """What is said of it where an ``{order_type}`` order must not have it."""

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED


class Fields:
    """The fields of one request, of those in a table: read one by one, with all errors collected."""

    def __init__(self, table: Sequence[Field[Any]], values: Mapping[str, Any]) -> None:
        self.errors: dict[str, str] = {}
        self._known = [field.name for field in table]
        self._given: dict[str, tuple[str, Any]] = {}
        self._spellings: dict[str, str] = {}
        names = {field.second_spelling: field.name for field in table if field.second_spelling}
        for spelling, value in values.items():
            name = names.get(spelling, spelling)
            if name in self._given:
                self.errors[spelling] = f"is the same field as {self._given[name][0]}; send one of the two"
            self._given[name] = (spelling, value)
            if value is not None:
                self._spellings[name] = spelling

    def read(self, field: Field[Value], kind: Kind[Value] | None = None, *, default: Any = _REQUIRED) -> Any:
        """Return the field's value. What a wrong field returns is of no use: ``finish`` will raise.

        ``kind`` and ``default`` go before the field's own, where those depend on the rest of the request.
        """
        spelling, value = self._given.pop(field.name, (field.name, None))
        if value is None:
            default = field.default if default is _REQUIRED else default
            if default is not _REQUIRED:
                return default
            self.errors[spelling] = "is required"
            return None
        try:
            return (kind or field.kind).read(value)
        except Refused as refused:
            self.errors[spelling] = str(refused)
            return None

    def require(self, field: Field[Any], problem: str) -> None:
        """Refuse the request if an optional field is missing."""
        if field.name not in self._spellings:
            self.errors[field.name] = problem

    def forbid(self, field: Field[Any], problem: str) -> None:
        """Refuse the request if an optional field was given."""
        if field.name in self._spellings:
            self.errors[self._spellings[field.name]] = problem

    def finish(self) -> None:
        """Refuse the request if a field was wrong, or is not known: in a money API a typo must not pass.

        Raises:
            RequestError: naming each of those fields.
        """
        for spelling, _ in self._given.values():
            self.errors[shown(spelling).strip("'\"")] = f"is not a known field; known are {', '.join(self._known)}"
        if self.errors:
            raise invalid(self.errors)


def one_of(choices: type[Choice]) -> Kind[Choice]:
    allowed = {choice.value: choice for choice in choices}

    def read(value: Any) -> Choice:
        if not isinstance(value, str) or value not in allowed:
            raise Refused(f"{shown(value)} is not allowed; expected is {' or '.join(allowed)}")
        return allowed[value]

    return Kind(read, {"type": "string", "enum": list(allowed)})


def venue(known: Collection[str]) -> Kind[str]:
    def read(value: Any) -> str:
        if value not in known:
            raise Refused(f"{shown(value)} is not a known venue; known are {', '.join(known)}")
        return str(value)

    return Kind(read, {"type": "string", "enum": list(known)})


def amount_of(decimals: int | None) -> Kind[Decimal]:
    """An amount of a token with so many decimals; of one that is not known, any amount."""

    def read(value: Any) -> Decimal:
        number = AMOUNT.read(value)
        exponent = EXACT.normalize(number).as_tuple().exponent
        if decimals is not None and isinstance(exponent, int) and -exponent > decimals:
            raise Refused(f"{number_of(value)} has too many digits after the point; this token has {decimals}")
        return number

    return Kind(read, AMOUNT.schema)


def time_after(earliest: datetime, now: datetime) -> Kind[datetime]:
    def read(value: Any) -> datetime:
        time = TIME.read(value)
        if time <= earliest:
            raise Refused(f"{value} is in the past; it is {now:%Y-%m-%dT%H:%M:%SZ} now")
        if time > now + LONGEST_WAIT:
            raise Refused(f"{value} is too far away; at most {LONGEST_WAIT.days} days are allowed")
        return time

    return Kind(read, TIME.schema)


def whole_number(low: int, high: int) -> Kind[int]:
    def read(value: Any) -> int:
        number = number_of(value)
        if number != number.to_integral_value() or not low <= number <= high:
            raise Refused(f"{number} is not allowed; expected is a whole number from {low} to {high}")
        return int(number)

    return Kind(read, {"type": "integer", "minimum": low, "maximum": high})


def list_of(items: Kind[Value], *, most: int) -> Kind[list[Value]]:
    def read(value: Any) -> list[Value]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise Refused(f"{shown(value)} is not allowed; expected is a list of 1 to {most}")
        return [items.read(item) for item in value]

    return Kind(read, {"type": "array", "items": items.schema, "minItems": 1, "maxItems": most})


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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT or not value.isprintable():
        raise Refused(f"{shown(value)} is not allowed; expected are 1 to {LONGEST_TEXT} printable characters")
    return value


def _token(value: Any) -> str:
    if not isinstance(value, str) or value not in TOKENS:
        raise Refused(f"{shown(value)} is not a known token; known are {', '.join(TOKENS)}")
    return value


def _amount(value: Any) -> Decimal:
    number = number_of(value)
    if number <= 0:
        raise Refused(f"{number} is not allowed; an amount is greater than 0")
    if number > LARGEST_AMOUNT:
        raise Refused(f"{number} is too large; at most {LARGEST_AMOUNT:f} is allowed")
    return Decimal(f"{number:f}")


def _price(value: Any) -> Decimal:
    number = number_of(value)
    if number <= 0:
        raise Refused(f"{number} is not allowed; a price is greater than 0")
    if number > LARGEST_PRICE:
        raise Refused(f"{number} is too large; at most {LARGEST_PRICE:f} is allowed")
    # Executed prices are rounded to as many: with more, one that keeps to its limit could look worse than it.
    if len(EXACT.normalize(number).as_tuple().digits) > PRICE_DIGITS:
        raise Refused(f"{number} has too many digits; a price has at most {PRICE_DIGITS} significant ones")
    return Decimal(f"{number:f}")


def _time(value: Any) -> datetime:
    expected = "expected is a time with its zone, such as 2030-01-31T12:00:00Z"
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise Refused(f"{shown(value)} is not allowed; {expected}")
    try:
        # RFC 3339 allows a small t and z, fromisoformat does not.
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as wrong:
        raise Refused(f"{shown(value)} is not a time; {expected}") from wrong


def _slippage(value: Any) -> Decimal:
    number = number_of(value)
    if not 0 <= number <= LARGEST_SLIPPAGE:
        raise Refused(f"{number} is not allowed; expected is a fraction from 0 to {LARGEST_SLIPPAGE}")
    if number != round(number, 6):
        raise Refused(f"{number} has too many digits; at most 6 after the point are allowed")
    return Decimal(f"{number:f}")


def _order_id(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Refused(f"{shown(value)} is not an order id; expected is a UUID")
    return value.lower()


def _number(read: Callable[[Any], Decimal], **limits: Any) -> Kind[Decimal]:
    """A number, or one in a string, for those whose JSON knows no exact numbers."""
    return Kind(read, {"anyOf": [{"type": "number", **limits}, {"type": "string", "pattern": f"^{_NUMBER.pattern}$"}]})


TEXT = Kind(
    _text,
    {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT, "pattern": f"^[^{_UNPRINTABLE}]+$"},
)
TOKEN = Kind(_token, lambda: {"type": "string", "enum": list(TOKENS)})
AMOUNT = _number(_amount, exclusiveMinimum=0, maximum=LARGEST_AMOUNT)
PRICE = _number(_price, exclusiveMinimum=0, maximum=LARGEST_PRICE)
SLIPPAGE = _number(_slippage, minimum=0, maximum=LARGEST_SLIPPAGE)
TIME = Kind(_time, {"type": "string", "format": "date-time"})
ORDER_ID = Kind(_order_id, {"type": "string", "format": "uuid"})
