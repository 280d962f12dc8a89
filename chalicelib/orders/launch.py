"""The launch of a token: a pool went live."""

import msgspec


class Launch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pool in which ``token_in`` trades from now on: against ``token_out``, or anything where that is None."""

    pool: str
    token_in: str
    token_out: str | None = None
    venue: str | None = None
