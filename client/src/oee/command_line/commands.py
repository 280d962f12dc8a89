"""The commands: each reads what was typed, makes one call of the client, and shows what came of it."""

import getpass
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import typer

from oee.answers import Accepted, OrderEvent, Status
from oee.client import DEFAULT_URL, Client
from oee.command_line import drawing
from oee.command_line.story import OrderStory
from oee.errors import OrderEngineError, Unavailable, UnexpectedAnswer, Unreachable
from oee.exact_json import encode_json
from oee.orders import OrderType, Side, TimeInForce, exact, order_of
from oee.retries import Retries
from oee.version import VERSION

# A wrong command line is 2, an interruption 130: typer.
EXIT_ORDER_FAILED, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_NOT_READ = 1, 3, 4, 141
EPILOG = """
**Exit codes:** 0 done · 1 the order failed, was cancelled or expired · 2 the command line is wrong ·
3 the engine refused · 4 the engine cannot be reached or is down · 130 interrupted

**Scripts:** `--json` prints a JSON object a line with exact numbers and nothing else; messages go to stderr.
"""

app = typer.Typer(
    name="oee",
    help="Place orders with an Order Execution Engine and watch them.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


class Pair(NamedTuple):
    """What is traded against what."""

    token_in: str
    token_out: str


def read_pair(text: str) -> Pair:
    token_in, slash, token_out = text.partition("/")
    if not (token_in and slash and token_out) or "/" in token_out:
        raise typer.BadParameter(f"{text!r} is not a pair; expected is one such as SOL/USDC")
    return Pair(token_in, token_out)


def read_number(text: str) -> Decimal:
    try:
        return exact("it", text)
    except ValueError as wrong:
        raise typer.BadParameter(f"{text!r} is not a number; expected is one such as 1.5") from wrong


def read_time(text: str) -> datetime:
    """Read ``2030-01-31T12:00:00Z``, or how long from now: ``90s``, ``15m``, ``8h``, ``7d``."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1] in units:
        try:
            return datetime.now(UTC) + timedelta(**{units[text[-1]]: int(text[:-1])})
        except OverflowError as wrong:
            raise typer.BadParameter(f"{text!r} from now is further away than there are years") from wrong
    try:
        time = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise typer.BadParameter(f"{text!r} is no time; expected is 2030-01-31T12:00:00Z, or 15m from now") from wrong
    return time if time.tzinfo else time.astimezone()


Swap = Annotated[Pair, typer.Argument(parser=read_pair, metavar="PAIR", help="tokenIn/tokenOut, such as SOL/USDC")]
Amount = Annotated[Decimal, typer.Argument(parser=read_number, metavar="AMOUNT", help="how much of tokenIn")]
OrderIds = Annotated[list[str], typer.Argument(metavar="ORDER…", help="the orders' ids")]
SideOption = Annotated[
    Side | None,
    typer.Option(help="sell AMOUNT of tokenIn, or buy it.", show_default="buy for limit and sniper, else sell"),
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object a line, with exact numbers.")]
ENGINE = "The engine"
Url = Annotated[str, typer.Option(envvar="OEE_URL", help="Its address.", rich_help_panel=ENGINE)]
WebSocketUrl = Annotated[
    str | None,
    typer.Option(
        "--websocket-url",
        envvar="OEE_WEBSOCKET_URL",
        help="Its WebSocket's address.",
        show_default="/ws beside the other",
        rich_help_panel=ENGINE,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="OEE_TOKEN",
        help="Your token, if it asks for one. Put it into OEE_TOKEN: a command line can be read by others.",
        rich_help_panel=ENGINE,
    ),
]


def show_version(asked: bool) -> None:
    if asked:
        print(f"oee {VERSION}")
        raise typer.Exit


@app.callback()
def oee(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="`oee submit SOL/USDC 1.5 --watch`, `oee submit SOL/USDC 1 --side buy --limit 142.5 --until 8h`")
def submit(
    pair: Swap,
    amount: Amount,
    order_type: Annotated[
        OrderType | None,
        typer.Option(
            "--type", help="What kind of order.", show_default="stop with --stop, limit with --limit, else market"
        ),
    ] = None,
    side: SideOption = None,
    limit: Annotated[
        Decimal | None,
        typer.Option(parser=read_number, metavar="PRICE", help="The worst net price: makes it a limit order."),
    ] = None,
    stop: Annotated[
        Decimal | None,
        typer.Option(parser=read_number, metavar="PRICE", help="The price that triggers it: makes it a stop order."),
    ] = None,
    slippage: Annotated[
        Decimal | None,
        typer.Option(parser=read_number, metavar="FRACTION", help="How much worse than its quote: 0.01 is 1 %."),
    ] = None,
    immediate: Annotated[bool, typer.Option("--immediate", help="Now or cancelled (IOC).")] = False,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=read_time, metavar="TIME", help="When it expires: 2030-01-31T12:00:00Z, or in 15m, 8h, 7d."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The order's key (clientOrderId): sent twice, it is placed once.", show_default="a new one"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(envvar="OEE_USER", help="Whose order it is.", show_default="your token's user, else your login"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and watch it until it has ended.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    websocket_url: WebSocketUrl = None,
    token: Token = None,
) -> None:
    """Place an order: a market order, unless --limit, --stop or --type says otherwise."""
    fields = {
        "order_type": order_type or _implied_type(limit, stop),
        "token_in": pair.token_in,
        "token_out": pair.token_out,
        "amount": amount,
        "side": side,
        "limit_price": limit,
        "trigger_price": stop,
        "slippage_tolerance": slippage,
        "time_in_force": TimeInForce.IOC if immediate else None,
        "expires_at": until,
        "client_order_id": key,
        "user_id": user or (None if token else _login()),
    }
    try:
        order = order_of(None, fields)
    except TypeError as wrong:
        raise typer.BadParameter(_misfit(order_type, limit, stop)) from wrong
    with connected(url, websocket_url, token) as client:
        accepted = client.submit(order)
        if watch:
            show_until_ended(client, [accepted], 0, as_json)
        elif as_json:
            print_json(accepted)
        else:
            drawing.open_console().print(drawing.accepted(accepted))


@app.command(epilog="`oee watch a79522f9-… --after-seq 3 --json`")
def watch(
    orders: OrderIds,
    after_seq: Annotated[int, typer.Option(min=0, help="Begin after the event of this number.")] = 0,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    websocket_url: WebSocketUrl = None,
    token: Token = None,
) -> None:
    """Show what happens to orders, from their first event until all have ended."""
    with connected(url, websocket_url, token) as client:
        show_until_ended(client, orders, after_seq, as_json)


@app.command(name="orders")
def list_orders(
    status: Annotated[Status | None, typer.Option(help="Only those that stand there.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """List your orders, the newest first; everybody's where the engine asks for no tokens."""
    with connected(url, None, token) as client:
        found = client.orders(status, limit)
        if as_json:
            for order in found:
                print_json(order)
        else:
            console = drawing.open_console()
            console.print(drawing.orders(found, console.width))


@app.command()
def quote(
    pair: Swap,
    amount: Amount,
    side: Annotated[Side, typer.Option(help="sell AMOUNT of tokenIn, or buy it.")] = Side.SELL,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
) -> None:
    """Show what every venue quotes now, and which one the engine would choose."""
    with connected(url, None, token) as client:
        answer = client.quote(pair.token_in, pair.token_out, amount, side.value)
        if as_json:
            print_json(answer)
        else:
            drawing.open_console().print(drawing.quotes(answer))


@app.command()
def cancel(orders: OrderIds, as_json: Json = False, url: Url = DEFAULT_URL, token: Token = None) -> None:
    """Cancel orders that have not been submitted to a venue; what is cancelled already stays so."""
    with connected(url, None, token) as client:
        for order_id in orders:
            order = client.cancel(order_id)
            if as_json:
                print_json(order)
            else:
                drawing.open_console().print(drawing.cancelled(order))


def show_until_ended(client: Client, orders: Sequence[str | Accepted], after_seq: int, as_json: bool) -> None:
    """Show orders until all have ended; exits with 1 unless each was confirmed."""
    ids = [order if isinstance(order, str) else order.order_id for order in orders]
    stories = {order_id: OrderStory(order_id) for order_id in ids}
    watching = drawing.Watching(drawing.open_console(), list(stories.values()))
    try:
        with watching.shown() if not as_json else nullcontext():
            for event in _events(client, orders, after_seq):
                story = stories[event.order_id]
                story.hear(event)
                if as_json:
                    print_json(event)
                else:
                    watching.tell(story, event)
    except KeyboardInterrupt:
        going_on = " ".join(order_id for order_id, story in stories.items() if not story.has_ended)
        tell(f"what was placed goes on; to see it again: oee watch {going_on}; to stop it: oee cancel {going_on}")
        raise
    if not all(_was_executed(client, story) for story in stories.values()):
        raise typer.Exit(EXIT_ORDER_FAILED)


def _events(client: Client, orders: Sequence[str | Accepted], after_seq: int) -> Iterator[OrderEvent]:
    if len(orders) == 1:
        yield from client.watch(orders[0], after_seq)
        return
    with client.stream() as stream:
        for order in orders:
            stream.follow(order if isinstance(order, str) else order.order_id, after_seq)
        yield from stream


def _was_executed(client: Client, story: OrderStory) -> bool:
    # Nothing may be left to hear of an order after the event that one knows already.
    status = story.status or client.order(story.order_id).status
    return status == Status.CONFIRMED


@contextmanager
def connected(url: str, websocket_url: str | None, token: str | None) -> Iterator[Client]:
    """Open a client, and end the command with a message and the exit code for whatever goes wrong with it."""
    if token is not None and any(argument.startswith("--token") for argument in sys.argv):
        tell("a token on the command line can be read by everybody on this machine: put it into OEE_TOKEN instead")
    log.setLevel(logging.INFO)
    try:
        client = Client(url, token=token, websocket_url=websocket_url, retries=Retries(wait_for_start=False))
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    try:
        with client:
            yield client
    except BrokenPipeError as gone:
        # Who reads this has had enough, as `head` does. Ends as what SIGPIPE ends, and writes nothing more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_NOT_READ) from gone
    except OrderEngineError as error:
        tell(str(error))
        if error.client_order_id is not None:
            tell(f"that is: the same command with --key {error.client_order_id}")
        raise typer.Exit(exit_code_of(error)) from error


def exit_code_of(error: OrderEngineError) -> int:
    """Return the exit code for what went wrong."""
    if isinstance(error, Unavailable | Unreachable | UnexpectedAnswer):
        return EXIT_UNREACHABLE
    return EXIT_REFUSED


def print_json(value: Any) -> None:
    """Write a line of JSON, at once: whoever reads it may wait for it."""
    print(encode_json(value).decode(), flush=True)


def tell(what: str) -> None:
    """Write a message for the person, apart from what was asked for."""
    first, *others = (drawing.printable(line) for line in what.splitlines())
    print("\n".join([f"oee: {first}", *others]), file=sys.stderr, flush=True)


class Telling(logging.Handler):
    """Tells what the client logs: that it tries again, and why."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one line."""
        tell(record.getMessage())


log = logging.getLogger("oee")
log.addHandler(Telling())


def _implied_type(limit: Decimal | None, stop: Decimal | None) -> OrderType:
    if stop is not None:
        return OrderType.STOP
    return OrderType.MARKET if limit is None else OrderType.LIMIT


def _misfit(order_type: OrderType | None, limit: Decimal | None, stop: Decimal | None) -> str:
    """Say which option does not go with the type of order."""
    if order_type is OrderType.LIMIT and limit is None:
        return "a limit order needs --limit PRICE"
    if order_type is OrderType.STOP and stop is None:
        return "a stop order needs --stop PRICE"
    return f"{'--stop is for stop orders' if stop is not None else '--limit is not for market orders'}: see --type"


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "anybody"


def run() -> None:
    """Run the command that was typed."""
    app()
