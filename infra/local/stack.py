"""The whole engine on one machine, as one object: ``with Stack() as stack: …``.

Several can run side by side, each on its own data folder and port, so tests run beside ``make run``.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from chalicelib.config import load_settings
from infra.local.door import LocalDoor
from infra.local.emulator import LocalEmulator
from infra.local.postgres import LocalPostgres
from infra.local.processes import ChildProcess, ServiceFailed, StackError
from infra.local.redis import LocalRedis
from infra.local.shared_dependencies import share_dependencies
from infra.packaging import Package, PackagingError, build_package
from infra.real_swaps import real_swaps

PROJECT = Path(__file__).parents[2]
DATA_DIR = PROJECT / ".local"
STAGE = "local"
HEALTH_TIMEOUT_SECONDS = 30.0
LAUNCH_WEBHOOK_SECRET = "local-launches"  # noqa: S105 - no secret: the README has it
"""Signs launches where no secret was set: nobody but this machine reaches the stack."""
USER_ORDER_RATE = "0"
"""No limit where none was set: who the user is anybody may choose here, so one would only keep load tests short."""
OWN_SERVERS: Mapping[str, str] = {
    "DATABASE_URL": "",
    "POSTGRES_HOST": "",
    "REDIS_URL": "",
    "REDIS_HOST": "",
    "LAUNCH_WEBHOOK_SECRET": "",
    "AUTH_MODE": "open",
    "USE_REAL_DEVNET": "",
}
"""Settings of a stack that is measured or broken: it starts servers of its own, whatever this process's environment
names, signs launches with its own secret, asks nobody who they are, and spends nobody's money."""

Progress = Callable[[str, float | None], None]
"""Gets what was done and how many seconds it took, or what begins and None."""


class Service(Protocol):
    """What the stack runs."""

    name: str
    process: ChildProcess

    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Stop it and whatever it started."""

    def restart(self) -> None:
        """Stop and start it at the same address; also after it died."""


class Stack:
    """Postgres, Redis, the emulated AWS with the engine deployed, and the front door.

    Attributes:
        url: The front door, such as ``http://localhost:3000``.
        websocket_url: The same for WebSocket.
        database_url: Postgres: ours, or the one the environment names.
        redis_url: Redis, likewise.
        aws_endpoint_url: The emulated AWS; its region is us-east-1, its credentials ``test``/``test``.
        outputs: The deployed stack's outputs.
        services: Our child processes by name: ``postgres``, ``redis``, ``emulator``, ``door``.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        data_dir: Path = DATA_DIR,
        environment: Mapping[str, str] | None = None,
        project: Path = PROJECT,
        progress: Progress = lambda _text, _seconds: None,
    ) -> None:
        """Prepare the stack; nothing runs before ``start``.

        Args:
            port: The front door's port; 0 takes a free one, None the one of the settings.
            data_dir: Where data, logs and the lock are kept.
            environment: Settings that override this process's environment; an empty value removes one.
            project: The source tree to deploy.
            progress: Told about every step.

        Raises:
            SettingsError: a setting has a value that cannot be used.
        """
        self._environment = {**os.environ, **(environment or {})}
        self._settings = load_settings(self._environment)
        self._port = self._settings.port if port is None else port
        self._data_dir = data_dir.resolve()
        self._project = project
        self._progress = progress
        self._lock: IO[str] | None = None
        self.outputs: dict[str, str] = {}
        self.services: dict[str, Service] = {}
        self.url = self.websocket_url = self.aws_endpoint_url = ""
        self.database_url = self._settings.database_url
        self.redis_url = self._settings.redis_url

    @property
    def asks_for_tokens(self) -> bool:
        return self._settings.auth_mode == "jwt"

    @property
    def real_swaps(self) -> str:
        """Where it swaps for real, and with which wallet; empty where swaps are simulated."""
        solana = self._settings.solana
        return real_swaps(solana.cluster, solana.wallet_key, solana.wallet_secret_arn) if solana else ""

    @property
    def logs(self) -> Path:
        return self._data_dir / "logs"

    @property
    def _endpoint_file(self) -> Path:
        """Where ``infra.cloud`` finds the emulator of ``make run``."""
        return self._data_dir / "endpoint"

    def start(self) -> None:
        """Start everything and return when the engine answers that it is well.

        Raises:
            StackError: a step failed; nothing is left running.
        """
        self._check_wallet()
        try:
            self._lock = _take_lock(self._data_dir)
            self._keep_previous_logs()
            self._create_services()
            self._lock.write(f"process {os.getpid()}, {self.url}")
            self._lock.flush()
            self._start_services()
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def _check_wallet(self) -> None:
        """Refuse settings with which an engine would start here, and every order of it would fail."""
        solana = self._settings.solana
        if solana is None:
            return
        for variable, arn, instead in (
            ("SOLANA_WALLET_SECRET_ARN", solana.wallet_secret_arn, "SOLANA_WALLET_KEY"),
            ("SOLANA_RPC_SECRET_ARN", solana.rpc_secret_arn, "SOLANA_RPC_URLS"),
        ):
            if arn:
                raise StackError(f"{variable} names a secret on AWS, which is not read here: set {instead} instead.")
        try:
            _ = self.real_swaps
        except ValueError as error:
            raise StackError(str(error)) from error

    def stop(self) -> None:
        """Stop everything, in the reverse order of starting. Does nothing the second time."""
        for service in reversed(self.services.values()):
            service.stop()
        if isinstance(door := self.services.get("door"), LocalDoor):
            door.close()
        self.services = {}
        if self._lock:
            self._endpoint_file.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def failure(self) -> ServiceFailed | None:
        """Return what is wrong if one of the services has ended by itself."""
        for service in self.services.values():
            if not service.process.running:
                return service.process.failure()
        return None

    def _create_services(self) -> None:
        door = LocalDoor(self._port, self._data_dir, self._environment)
        self.services["door"] = door
        self.url, self.websocket_url = door.url, door.websocket_url
        if not self._names_one_of("DATABASE_URL", "POSTGRES_HOST"):
            postgres = LocalPostgres(self._data_dir, self._environment)
            self.services["postgres"], self.database_url = postgres, postgres.url
        if not self._names_one_of("REDIS_URL", "REDIS_HOST"):
            redis = LocalRedis(self._data_dir, self._environment)
            self.services["redis"], self.redis_url = redis, redis.url
        emulator = LocalEmulator(self._data_dir, self._environment)
        self.services["emulator"], self.aws_endpoint_url = emulator, emulator.url
        # Stopped first, so that nobody sees the rest go.
        self.services["door"] = self.services.pop("door")

    def _names_one_of(self, *variables: str) -> bool:
        return any(self._environment.get(variable, "").strip() for variable in variables)

    def _start_services(self) -> None:
        """Start what does not depend on each other at the same time."""
        pool = ThreadPoolExecutor(thread_name_prefix="start")
        try:
            package = pool.submit(self.build)
            servers = [
                pool.submit(self._start, self.services[name])
                for name in ("postgres", "redis", "emulator")
                if name in self.services
            ]
            pool.submit(_import_deploy)
            _all_of([*servers, package])
            self.deploy(package.result())
            self._start(self.services["door"])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, service: Service) -> None:
        started = time.monotonic()
        service.start()
        match service:
            case LocalPostgres():
                what = f"{service.name} {service.version} on 127.0.0.1:{service.port}"
            case LocalDoor():
                what = f"{service.name} on localhost:{service.port}"
            case LocalRedis() | LocalEmulator():
                what = f"{service.name} on 127.0.0.1:{service.port}"
            case _:
                what = service.name
        self._progress(what, time.monotonic() - started)

    def build(self) -> Package:
        """Build what is deployed, or take what was built before.

        Raises:
            StackError: it could not be built.
        """
        started = time.monotonic()
        try:
            package = build_package(
                self._project,
                self._project / ".local" / "build",
                STAGE,
                lambda line: self._progress(line, None),
                real_venues=self._settings.solana is not None,
            )
        except PackagingError as error:
            raise StackError(str(error)) from error
        size = package.archive.stat().st_size / 1_000_000
        shared = share_dependencies(package, self._data_dir / "code")
        self._progress(f"Lambda package of {size:.1f} MB", time.monotonic() - started)
        return shared

    def deploy(self, package: Package) -> None:
        """Deploy a package, for the first time or in place of the one that runs.

        Raises:
            StackError: it could not be deployed; one that ran before runs on.
        """
        from infra.cloud import Target
        from infra.deploy import DeployError, deploy
        from infra.schedules import begin_schedules

        started = time.monotonic()
        environment = self._deployed_settings()
        target = Target(stage=STAGE, endpoint_url=self.aws_endpoint_url, environment=environment)
        try:
            self.outputs = deploy(target, environment=environment, package=package)
        except DeployError as error:
            raise StackError(f"{error}\nLogs: {self.logs}") from error
        begin_schedules(target, self.outputs)
        self._endpoint_file.write_text(self.aws_endpoint_url)
        door = self.services["door"]
        assert isinstance(door, LocalDoor)  # noqa: S101 - for mypy
        door.lead_to(target.addresses(self.outputs))
        self._progress("Engine deployed", time.monotonic() - started)

    def _deployed_settings(self) -> dict[str, str]:
        """Return what the template's parameters are taken from: never this machine's AWS account."""
        from infra.deployment import slots

        own = {name: value for name, value in self._environment.items() if not name.startswith("AWS_")}
        return {
            **own,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "WEBSOCKET_URL": self.websocket_url,
            "EMULATOR_URL": self.aws_endpoint_url,
            "USER_ORDER_RATE": own.get("USER_ORDER_RATE", "").strip() or USER_ORDER_RATE,
            "LAUNCH_WEBHOOK_SECRET": self._settings.launch_webhook_secret or LAUNCH_WEBHOOK_SECRET,
            "AUTH_MODE": self._settings.auth_mode,
            "USE_REAL_DEVNET": "true" if self._settings.solana else "false",
            "SOLANA_CLUSTER": self._settings.solana.cluster if self._settings.solana else "",
            **slots(self._settings),
        }

    def _wait_until_healthy(self) -> None:
        from infra.health import complaint_of

        started = time.monotonic()
        while complaint := complaint_of(self.url, proxied=False):
            if failure := self.failure():
                raise failure
            if time.monotonic() - started > HEALTH_TIMEOUT_SECONDS:
                raise StackError(f"The engine is not well. {self.url}/health answers: {complaint}\nLogs: {self.logs}")
            time.sleep(0.2)
        self._progress("Engine answers", time.monotonic() - started)

    def _keep_previous_logs(self) -> None:
        if self.logs.exists():
            previous = self.logs.with_name("logs.previous")
            shutil.rmtree(previous, ignore_errors=True)
            self.logs.rename(previous)


def _import_deploy() -> None:
    # The AWS SDK takes half a second to import: time that passes anyway while the services start.
    import infra.deploy  # noqa: F401


def _all_of(futures: Sequence[Future[Any]]) -> None:
    """Wait for all, and raise the first error as soon as there is one."""
    for future in wait(futures, return_when=FIRST_EXCEPTION).done:
        future.result()


def _take_lock(data_dir: Path) -> IO[str]:
    """Take the data folder for this stack.

    Raises:
        StackError: another stack runs on it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read() or "starting"
        lock.close()
        raise StackError(f"A stack already runs on the data in {data_dir} ({holder}). Stop it first.") from None
    lock.truncate(0)
    return lock
