"""How an order may move from one status to another.

    pending → routing → building → submitted → confirmed
       ↑________|__________|__________|            (a retry, or a price that moved away, goes back to pending)

Any status before ``confirmed`` may fail, and only an operator who redrives its dead letter brings a failed order back
to ``pending``. Before ``submitted`` an order may be cancelled or expire; that is committed before the first send, and
from there on only the chain decides. An order moves from its quotes to ``submitted`` in one statement, so it is found
in ``routing`` only where nothing could be built of them, and in ``building`` only if an earlier release left it there.
``pending → pending`` is an order that begins to wait, or whose wait is over. ``routing → routing`` is a worker that
took over from one that stopped before it had recorded a transaction: it quotes again.
"""

from chalicelib.orders.order import Status

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.ROUTING, Status.PENDING, Status.FAILED, Status.CANCELLED, Status.EXPIRED}),
    Status.ROUTING: frozenset(
        {Status.ROUTING, Status.BUILDING, Status.PENDING, Status.FAILED, Status.CANCELLED, Status.EXPIRED}
    ),
    Status.BUILDING: frozenset({Status.SUBMITTED, Status.PENDING, Status.FAILED, Status.CANCELLED, Status.EXPIRED}),
    Status.SUBMITTED: frozenset({Status.CONFIRMED, Status.PENDING, Status.FAILED}),
    Status.CONFIRMED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}
TERMINAL = frozenset(status for status, onward in TRANSITIONS.items() if not onward)
CLAIMABLE = (Status.PENDING, Status.ROUTING, Status.BUILDING)
"""The statuses in which a worker may claim an order, to execute it."""


def statuses_before(target: Status) -> list[Status]:
    """Return the statuses from which an order may move to ``target``."""
    return [status for status, onward in TRANSITIONS.items() if target in onward]


def is_terminal(status: Status) -> bool:
    """Whether nothing more happens by itself to an order in ``status``."""
    return status in TERMINAL
