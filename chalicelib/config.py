"""Settings: read once from the environment into one frozen object.

A wrong value must stop the start, not surface as a strange trade later; so every variable is checked here and
all that is wrong is reported together, each with its name, its value and what is allowed. Names follow the two
documented deployments; where those differ (``QUEUE_MAX_CONCURRENT``, ``WORKER_CONCURRENCY``) both are read.
"""

import base64
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

PRIORITY_SLOTS = 2
"""Of all orders that execute at once, so many are snipers only: the least an event source can be limited to."""
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""https://www.postgresql.org/docs/current/libpq-ssl.html"""
SET_BY_THE_TEMPLATE = (
    "ORDERS_QUEUE_URL",
    "PRIORITY_QUEUE_URL",
    "SETTLEMENTS_QUEUE_URL",
    "REPLAYS_QUEUE_URL",
    "MANAGEMENT_API_URL",
    "PARTIAL_BATCH_FAILURES",
    "AUTH_MODE",
)
"""What ``infra/app.json`` sets for every function; ``PARTIAL_BATCH_FAILURES`` says that it has SQS read which messages
of a batch failed. ``AUTH_MODE`` has a default for a laptop, which lets everybody in: on AWS it must be said."""
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
AUTH_MODES = ("open", "jwt")
AUTH_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What a token may be signed with: never a secret that the engine would have to share with the issuer."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ORIGIN = re.compile(r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII)
_IMPLIED_PORT = re.compile(r"http://.*:80|https://.*:443")
"""Which a browser leaves out: with it an origin would never be the same."""
_AN_ORIGIN = "https://app.example.com, in lower case, without a path or an implied port"
_UNREADABLE = re.compile(r"\s|%(?![0-9A-Fa-f]{2})")
_URL_HINT = "what is special in a password is written as %40 for @"
"""A client that cannot read a URL would repeat a part of it in its error: the part with the password."""
SOLANA_CLUSTERS = {"devnet": "https://api.devnet.solana.com", "mainnet-beta": "https://api.mainnet-beta.solana.com"}
"""Where orders can be swapped for real, and the endpoint of each that is everybody's, and limits how much one may ask:
https://solana.com/docs/references/clusters"""
MOST_DECIMALS = 18
SYMBOL = "[A-Z0-9]{1,16}"
"""What a token may be called."""
_TOKEN = re.compile(rf"({SYMBOL})=(\w+):([0-9]{{1,2}})(:token-2022)?", re.ASCII)
_CAP = re.compile(rf"({SYMBOL})=([0-9]{{1,20}}(?:\.[0-9]{{1,{MOST_DECIMALS}}})?)", re.ASCII)
_A_CAP = f"upper-case letters and digits, and a number above 0 with up to {MOST_DECIMALS} decimals"
_A_TOKEN = f"upper-case letters and digits, 32 bytes in base58, and 0 to {MOST_DECIMALS}"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS_BYTES = 32
_LONGEST_ADDRESS = 44
"""So many digits to the base 58 do 32 bytes have at most."""
Number = TypeVar("Number", int, float)


class SettingsError(ValueError):
    """One or more variables cannot be used; ``str()`` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class TokenSetting(NamedTuple):
    """A token of ``SOLANA_TOKENS``."""

    symbol: str
    mint: str
    """Its address in base58."""
    decimals: int
    token_2022: bool
    """Whether the Token-2022 program keeps it, and not the SPL Token program."""


@dataclass(frozen=True, kw_only=True)
class SolanaSettings:
    """What the real venues were told; their amounts are in whole tokens, fees in lamports."""

    cluster: str
    """One of ``SOLANA_CLUSTERS``."""
    rpc_urls: tuple[str, ...] = field(repr=False)
    """JSON-RPC endpoints, the preferred one first; none when a secret has them."""
    rpc_secret_arn: str
    """The secret that lists the endpoints, whose URLs may hold API keys; ``read_rpc_urls`` reads its text."""
    wallet_key: str = field(repr=False)
    """The key that signs and pays, as it was given; empty when a secret has it."""
    wallet_secret_arn: str
    tokens: tuple[TokenSetting, ...]
    """Tokens besides those that are known of the cluster, or in place of one."""
    pools: tuple[str, ...]
    """Pools to quote besides those that are found."""
    max_per_order: Mapping[str, Decimal]
    """How much of a token, by its symbol, one order may spend; of what is not named, nothing."""
    max_per_day: Mapping[str, Decimal]
    """How much of it all orders of 24 hours may spend together."""
    max_priority_fee: int
    """How many lamports a transaction may pay to be preferred."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the engine was told."""

    port: int
    """Where the laptop's front door listens."""
    database_url: str = field(repr=False)
    database_secret_arn: str
    """Where user and password of Postgres are, if not in its URL; likewise for Redis and the launches."""
    redis_url: str = field(repr=False)
    redis_secret_arn: str
    queue_max_concurrent: int
    """How many orders execute at once: the reserved concurrency. Of these ``PRIORITY_SLOTS`` are for snipers only."""
    order_processor_rate: int
    """How many orders may start in a minute; 0 means no limit."""
    user_order_rate: int
    """How many orders a user may place in a minute, and at once; 0 means no limit."""
    max_retries: int
    """How often an order is tried in all before it fails."""
    backoff_base_ms: int
    """The wait before the second try in milliseconds; it doubles with each further one."""
    log_level: str
    """Powertools reads it from the environment itself; here it is only checked."""
    mock_seed: str | None
    """Makes the simulated venues reproducible: the same order gets the same numbers."""
    mock_latency: float
    """Scales every simulated delay: 1 is the documented time, 0 none at all."""
    websocket_url: str
    """Where clients connect; answers to ``POST`` carry it."""
    management_api_url: str
    """API Gateway's ``@connections`` endpoint, where messages to WebSocket clients are posted."""
    launch_webhook_secret: str = field(repr=False)
    """Signs ``POST /api/launches``; without one no launch is taken."""
    launch_webhook_secret_arn: str
    auth_mode: str
    """``jwt``: users are who their token says. ``open``, for a laptop: whoever reaches the engine may do everything."""
    auth_issuer: str
    """The OIDC issuer whose tokens are taken, exactly as it writes itself."""
    auth_audience: tuple[str, ...]
    """Whom a token must be meant for: any of these."""
    auth_algorithms: tuple[str, ...]
    """What a token may be signed with."""
    console_client_id: str
    """As which client of the issuer the console signs users in; without one it takes pasted tokens only."""
    console_scopes: str
    """What the console asks the issuer for, with spaces."""
    console_token_origin: str
    """Where the issuer gives the console tokens, if not at its own origin."""
    cors_origins: tuple[str, ...]
    """Pages of these origins may call the API and open WebSockets in a browser."""
    orders_queue_url: str
    priority_queue_url: str
    settlements_queue_url: str
    replays_queue_url: str
    orders_dead_letters_url: str
    settlements_dead_letters_url: str
    solana: SolanaSettings | None
    """The real venues; without them swaps are simulated."""

    @property
    def own_origin(self) -> str:
        """The origin of the console, where REST and WebSocket are reached at one host: that of ``websocket_url``."""
        parts = urlsplit(self.websocket_url)
        return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"

    @property
    def secrets(self) -> frozenset[str]:
        """What nobody may read in a log: passwords and API keys, as a URL has them and as they are, and other keys."""
        in_urls = _passwords(self.database_url) | _passwords(self.redis_url)
        keys = {self.launch_webhook_secret}
        if self.solana:
            in_urls |= keys_of(self.solana.rpc_urls)
            keys.add(self.solana.wallet_key)
        return frozenset({*in_urls, *map(unquote, in_urls), *keys} - {""})


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: naming every variable whose value cannot be used.
    """
    read = _Reader(environment)
    settings = Settings(
        port=read.whole_number("PORT", default=3000, low=1, high=65535),
        database_url=_database_url(read),
        database_secret_arn=read.text("DATABASE_SECRET_ARN"),
        redis_url=_redis_url(read),
        redis_secret_arn=read.text("REDIS_SECRET_ARN"),
        # Some are kept for snipers, and an event source's MaximumConcurrency starts at 2:
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
        queue_max_concurrent=read.whole_number(
            "QUEUE_MAX_CONCURRENT", "WORKER_CONCURRENCY", default=10, low=2 + PRIORITY_SLOTS, high=1000
        ),
        order_processor_rate=read.whole_number("ORDER_PROCESSOR_RATE", default=100, low=0, high=1_000_000),
        # One order a second: of the hundred that may start in a minute, a single user leaves some to the others.
        user_order_rate=read.whole_number("USER_ORDER_RATE", default=60, low=0, high=1_000_000),
        max_retries=read.whole_number("MAX_RETRIES", default=3, low=1, high=10),
        backoff_base_ms=read.whole_number("BACKOFF_BASE_MS", default=1000, low=0, high=60_000),
        log_level=read.one_of("LOG_LEVEL", LOG_LEVELS, default="INFO"),
        mock_seed=read.text("MOCK_SEED") or None,
        mock_latency=read.number("MOCK_LATENCY", default=1.0, low=0.0, high=10.0),
        websocket_url=read.url("WEBSOCKET_URL", schemes=("ws", "wss"), default="ws://localhost:3000/ws"),
        management_api_url=read.url("MANAGEMENT_API_URL", schemes=("http", "https"), default=""),
        launch_webhook_secret=read.webhook_secret("LAUNCH_WEBHOOK_SECRET"),
        launch_webhook_secret_arn=read.text("LAUNCH_WEBHOOK_SECRET_ARN"),
        auth_mode=read.one_of("AUTH_MODE", AUTH_MODES, default="open"),
        auth_issuer=read.issuer("AUTH_ISSUER"),
        auth_audience=read.names("AUTH_AUDIENCE"),
        auth_algorithms=read.some_of("AUTH_ALGORITHMS", AUTH_ALGORITHMS, default="RS256"),
        console_client_id=read.text("CONSOLE_CLIENT_ID"),
        console_scopes=read.text("CONSOLE_SCOPES", default="openid"),
        console_token_origin=read.origin("CONSOLE_TOKEN_ORIGIN"),
        cors_origins=read.origins("CORS_ORIGINS"),
        orders_queue_url=read.text("ORDERS_QUEUE_URL"),
        priority_queue_url=read.text("PRIORITY_QUEUE_URL"),
        settlements_queue_url=read.text("SETTLEMENTS_QUEUE_URL"),
        replays_queue_url=read.text("REPLAYS_QUEUE_URL"),
        orders_dead_letters_url=read.text("ORDERS_DEAD_LETTERS_URL"),
        settlements_dead_letters_url=read.text("SETTLEMENTS_DEAD_LETTERS_URL"),
        solana=_solana(read) if read.yes_or_no("USE_REAL_DEVNET") else None,
    )
    if settings.auth_mode == "jwt":
        read.require("AUTH_ISSUER", "AUTH_AUDIENCE", why="AUTH_MODE=jwt says whose tokens to take, and meant for whom")
    if settings.solana and settings.solana.cluster == "mainnet-beta" and settings.auth_mode == "open":
        read.refuse(
            "AUTH_MODE", "open", "jwt", "with SOLANA_CLUSTER=mainnet-beta anybody could spend the wallet's money"
        )
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def check_template(environment: Mapping[str, str]) -> None:
    """Refuse to serve as a function that was deployed without the template.

    Raises:
        SettingsError: naming what is missing and how to deploy.
    """
    missing = [name for name in SET_BY_THE_TEMPLATE if not environment.get(name)]
    if missing:
        raise SettingsError(
            [
                f"{', '.join(missing)}: not set. This function was deployed without infra/app.json, which `chalice "
                "deploy` does not know: it makes no queues, and SQS would take an answer with failures for success. "
                "Deploy with `python -m infra.deploy --stage STAGE`, or merge the template in your pipeline: "
                "`chalice package --merge-template infra/app.json OUT`."
            ]
        )


def read_rpc_urls(text: str) -> tuple[str, ...]:
    """Return the endpoints that a secret lists, checked as ``SOLANA_RPC_URLS`` is.

    Raises:
        SettingsError: one of them cannot be used; none is repeated.
    """
    read = _Reader({"SOLANA_RPC_SECRET_ARN": text})
    urls = read.rpc_urls("SOLANA_RPC_SECRET_ARN", default="")
    if not urls:
        read.problems.append("SOLANA_RPC_SECRET_ARN: the secret that it names is empty")
    if read.problems:
        raise SettingsError(read.problems)
    return urls


def keys_of(urls: Iterable[str]) -> set[str]:
    """Return what identifies a caller in the URLs of RPC endpoints: providers put API keys anywhere behind the host."""
    keys: set[str] = set()
    for url in urls:
        parts = urlsplit(url)
        path = parts.path.strip("/")
        keys |= {parts.username or "", parts.password or "", path, path.rpartition("/")[2], parts.query}
        keys.update(value for _, value in parse_qsl(parts.query))
    return keys - {""}


@cache
def current_settings() -> Settings:
    """Return this process's settings, read from its environment at the first call."""
    return load_settings(os.environ)


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, *names: str, default: str = "") -> str:
        return self._first(names, default)[1]

    def whole_number(self, *names: str, default: int, low: int, high: int) -> int:
        return self._number(names, int, "a whole number", default, low, high)

    def number(self, *names: str, default: float, low: float, high: float) -> float:
        return self._number(names, float, "a number", default, low, high)

    def one_of(self, name: str, allowed: tuple[str, ...], *, default: str, hint: str = "") -> str:
        value = self.text(name, default=default)
        for choice in allowed:
            if value.lower() == choice.lower():
                return choice
        self.refuse(name, value, f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0], hint)
        return default

    def yes_or_no(self, name: str) -> bool:
        return self.one_of(name, ("true", "false"), default="false") == "true"

    def url(self, *names: str, schemes: tuple[str, ...], default: str) -> str:
        name, value = self._first(names, default)
        if value and not _is_url(value, schemes):
            # A database or Redis URL holds a password: the message says what is allowed, not what was given.
            shown = "***" if "@" in value or "password" in value.lower() else value
            self.refuse(name, shown, f"a URL that starts with {'://, '.join(schemes)}://", hint=_URL_HINT)
            return default
        return value

    def names(self, name: str, default: str = "") -> tuple[str, ...]:
        """Return what a list with commas holds."""
        return tuple(part for part in map(str.strip, self.text(name, default=default).split(",")) if part)

    def some_of(self, name: str, allowed: tuple[str, ...], *, default: str) -> tuple[str, ...]:
        known = {choice.lower(): choice for choice in allowed}
        given = self.names(name, default)
        if not given or any(part.lower() not in known for part in given):
            self.refuse(name, self.text(name), f"one or more, with commas, of {', '.join(allowed)}")
            return (default,)
        return tuple(known[part.lower()] for part in given)

    def issuer(self, name: str) -> str:
        """Return a token issuer's URL: its keys must not be fetched where somebody on the way could change them."""
        value = self.url(name, schemes=("https", "http"), default="")
        if value.startswith("http:") and urlsplit(value).hostname not in LOOPBACK:
            self.refuse(name, value, "a URL that starts with https://", "http:// is for an issuer on this machine")
            return ""
        return value

    def require(self, *names: str, why: str) -> None:
        """Note which of these are not set."""
        self.problems += [f"{name} is not set: {why}" for name in names if not self.text(name)]

    def webhook_secret(self, name: str) -> str:
        """Return a secret as it is; one that says it is base64 must be."""
        secret = self.text(name)
        if secret.startswith("whsec_"):
            try:
                if not base64.b64decode(secret.removeprefix("whsec_"), validate=True):
                    raise ValueError("empty")
            except ValueError:
                self.refuse(name, "whsec_***", "whsec_ and a key in base64, or any other text")
        return secret

    def origins(self, name: str) -> tuple[str, ...]:
        """Return the origins of a list, each as a browser sends it; ``*`` is none, and nor is ``null``."""
        origins = self.names(name)
        for origin in origins:
            if not _is_origin(origin):
                self.refuse(name, origin, f"a list, with commas, of origins such as {_AN_ORIGIN}")
        return origins

    def origin(self, name: str) -> str:
        """Return an origin as a browser writes it, or nothing."""
        value = self.text(name)
        if value and not _is_origin(value):
            self.refuse(name, value, f"an origin such as {_AN_ORIGIN}")
        return value

    def rpc_urls(self, name: str, default: str) -> tuple[str, ...]:
        """Return the URLs of a list: what they answer is believed, so nobody on the way may change it."""
        urls = self.names(name, default)
        for number, url in enumerate(urls, start=1):
            if not _is_url(url, ("https", "http")) or (
                urlsplit(url).scheme == "http" and urlsplit(url).hostname not in LOOPBACK
            ):
                hint = f"number {number} of the list is none; http:// is for a node on this machine"
                self.refuse(name, "***", "a list, with commas, of URLs that start with https://", hint)
        return tuple(dict.fromkeys(urls))

    def addresses(self, name: str) -> tuple[str, ...]:
        addresses = self.names(name)
        for address in addresses:
            if not _is_address(address):
                self.refuse(name, address, "a list, with commas, of addresses: 32 bytes in base58")
        return tuple(dict.fromkeys(addresses))

    def tokens(self, name: str) -> tuple[TokenSetting, ...]:
        """Return the tokens of a list, each ``SYMBOL=MINT:DECIMALS``, and ``:token-2022`` where that program has it."""
        tokens: dict[str, TokenSetting] = {}
        for part in self.names(name):
            found = _TOKEN.fullmatch(part)
            if not found or not _is_address(found[2]) or int(found[3]) > MOST_DECIMALS:
                allowed = (
                    f"a list, with commas, of SYMBOL=MINT:DECIMALS or SYMBOL=MINT:DECIMALS:token-2022, with {_A_TOKEN}"
                )
                self.refuse(name, part, allowed)
            elif found[1] in (*tokens, "SOL"):
                hint = "SOL is the chain's own coin" if found[1] == "SOL" else "it is there twice"
                self.refuse(name, part, "a token that has not been named", hint)
            else:
                tokens[found[1]] = TokenSetting(found[1], found[2], int(found[3]), bool(found[4]))
        return tuple(tokens.values())

    def caps(self, name: str) -> dict[str, Decimal]:
        """Return how much of each token a list allows: ``SOL=0.5,USDC=100``."""
        caps: dict[str, Decimal] = {}
        for part in self.names(name):
            found = _CAP.fullmatch(part)
            if not found or not Decimal(found[2]):
                allowed = f"a list, with commas, of SYMBOL=AMOUNT, such as SOL=0.5,USDC=100, with {_A_CAP}"
                self.refuse(name, part, allowed)
            elif found[1] in caps:
                self.refuse(name, part, "one amount a token", "it is there twice")
            else:
                caps[found[1]] = Decimal(found[2])
        return caps

    def one_of_two(self, plain: str, secret: str, why: str) -> tuple[str, str]:
        """Return the values of a variable that holds a secret and of one that names it, of which one must be set."""
        if bool(self.text(plain)) == bool(self.text(secret)):
            self.problems.append(f"{plain} or {secret} must be set, and not both: {why}")
        return self.text(plain), self.text(secret)

    def _first(self, names: tuple[str, ...], default: str) -> tuple[str, str]:
        """Return the first variable that is set; an empty one counts as absent."""
        for name in names:
            value = self._environment.get(name, "").strip()
            if value:
                return name, value
        return names[0], default

    def _number(
        self,
        names: tuple[str, ...],
        kind: Callable[[str], Number],
        noun: str,
        default: Number,
        low: Number,
        high: Number,
    ) -> Number:
        name, value = self._first(names, str(default))
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            self.refuse(name, value, f"{noun} from {low} to {high}")
            return default
        return number

    def refuse(self, name: str, value: str, allowed: str, hint: str = "") -> None:
        self.problems.append(f"{name}={value!r} cannot be used: allowed is {allowed}" + (f" ({hint})" if hint else ""))


def _is_origin(value: str) -> bool:
    return bool(_ORIGIN.fullmatch(value)) and not _IMPLIED_PORT.fullmatch(value)


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        # Postgres takes several hosts, each with its port.
        if parts.scheme not in schemes or (not parts.scheme.startswith("postgres") and parts.port == 0):
            return False
        return bool(parts.hostname or parts.scheme == "postgresql") and not _UNREADABLE.search(value)
    except ValueError:
        return False


def _passwords(url: str) -> set[str]:
    """Return the password of a URL, which stands before the host or, for Postgres, among the options."""
    parts = urlsplit(url)
    return {parts.password or "", *parse_qs(parts.query).get("password", [])}


def _is_address(value: str) -> bool:
    """Say whether this is an account's address: 32 bytes in base58, each leading zero byte a leading 1."""
    if not value or len(value) > _LONGEST_ADDRESS or any(digit not in _BASE58 for digit in value):
        return False
    number = 0
    for digit in value:
        number = number * 58 + _BASE58.index(digit)
    zeros = len(value) - len(value.lstrip("1"))
    return zeros + (number.bit_length() + 7) // 8 == _ADDRESS_BYTES


def _solana(read: _Reader) -> SolanaSettings:
    cluster = read.one_of("SOLANA_CLUSTER", tuple(SOLANA_CLUSTERS), default="devnet")
    in_secret = read.text("SOLANA_RPC_SECRET_ARN")
    if in_secret and read.text("SOLANA_RPC_URLS"):
        read.problems.append("SOLANA_RPC_URLS and SOLANA_RPC_SECRET_ARN are both set: one says where Solana is asked")
    wallet_key, wallet_secret_arn = read.one_of_two(
        "SOLANA_WALLET_KEY", "SOLANA_WALLET_SECRET_ARN", why="with USE_REAL_DEVNET=true a wallet signs and pays"
    )
    settings = SolanaSettings(
        cluster=cluster,
        rpc_urls=read.rpc_urls("SOLANA_RPC_URLS", default="" if in_secret else SOLANA_CLUSTERS[cluster]),
        rpc_secret_arn=in_secret,
        wallet_key=wallet_key,
        wallet_secret_arn=wallet_secret_arn,
        tokens=read.tokens("SOLANA_TOKENS"),
        pools=read.addresses("SOLANA_POOLS"),
        max_per_order=read.caps("SOLANA_MAX_PER_ORDER"),
        max_per_day=read.caps("SOLANA_MAX_PER_DAY"),
        # A base fee is 5,000 lamports a signature; a hundredth of a SOL is more than any swap should pay on top.
        max_priority_fee=read.whole_number("SOLANA_MAX_PRIORITY_FEE", default=100_000, low=0, high=10_000_000),
    )
    read.require(
        "SOLANA_MAX_PER_ORDER", "SOLANA_MAX_PER_DAY", why="what is not named may not be spent: SOL=0.5,USDC=100"
    )
    _check_caps(read, settings)
    return settings


def _check_caps(read: _Reader, settings: SolanaSettings) -> None:
    """Note caps that cannot be meant: of tokens that only one of the two names, or that a single order exceeds."""
    for symbol in sorted(settings.max_per_order.keys() ^ settings.max_per_day.keys()):
        names = ("SOLANA_MAX_PER_DAY", "SOLANA_MAX_PER_ORDER")
        missing, there = names if symbol in settings.max_per_order else names[::-1]
        # One that is named, and cannot be read, has been refused already.
        named = {part.partition("=")[0].strip().upper() for part in read.names(missing)}
        if named and symbol not in named:
            read.problems.append(f"{missing} does not name {symbol}, which {there} does: name it in both")
    for symbol, amount in settings.max_per_order.items():
        if amount > settings.max_per_day.get(symbol, amount):
            most = f"at most {settings.max_per_day[symbol]:f}, which SOLANA_MAX_PER_DAY allows"
            read.refuse("SOLANA_MAX_PER_ORDER", f"{symbol}={amount:f}", most)


def _database_url(read: _Reader) -> str:
    host = read.text("POSTGRES_HOST")
    user = quote(read.text("POSTGRES_USER", default="postgres"), safe="")
    password = quote(read.text("POSTGRES_PASSWORD"), safe="")
    port = read.whole_number("POSTGRES_PORT", default=5432, low=1, high=65535)
    database = quote(read.text("POSTGRES_DB", default="orders"), safe="")
    credentials = f"{user}:{password}" if password else user
    parts = f"postgresql://{credentials}@{host or 'localhost'}:{port}/{database}"
    if sslmode := read.text("POSTGRES_SSLMODE"):
        parts += f"?sslmode={read.one_of('POSTGRES_SSLMODE', SSL_MODES, default=sslmode)}"
    return read.url("DATABASE_URL", schemes=("postgresql", "postgres"), default=parts)


def _redis_url(read: _Reader) -> str:
    host = read.text("REDIS_HOST", default="localhost")
    port = read.whole_number("REDIS_PORT", default=6379, low=1, high=65535)
    return read.url("REDIS_URL", schemes=("redis", "rediss"), default=f"redis://{host}:{port}/0")
