"""Child processes with one lifecycle: start, wait until ready, stop, restart.

Every service of the laptop stack is one. Each has its own process group, so that Ctrl-C in the terminal reaches
only the stack, which then stops the services in the right order, and so that a service's own children go with it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
QUOTED_LOG_LINES = 12

# The kernel ties a child to the *thread* that started it, not to the process. All children are therefore started
# by one thread that lives as long as the stack's process.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="process-starter")


class StackError(Exception):
    """The stack cannot start or go on; the message says what is wrong and what to do."""


class ServiceFailed(StackError):
    """A service ended or did not become ready; the message quotes its log."""


@dataclass
class ChildProcess:
    """One supervised command."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the stack dies without stopping it."""
    grace_seconds: float = 5.0
    """How long ``stop`` waits before it kills."""
    user: str | None = None
    """The system user to run as, when the stack runs as root and the service refuses to."""
    inherited_sockets: Sequence[int] = ()
    folder: Path = Path("/")
    """Its working directory."""
    hint: str = ""
    """What to do when it fails, for the error's last line."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process and self.running else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the command; returns at once."""
        if self.running:
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = _STARTER.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        leash = [sys.executable, "-I", "-S", str(LEASH), f"--parent={os.getpid()}"]
        leash.append(f"--signal={int(self.death_signal)}")
        if self.user:
            leash.append(f"--user={self.user}")
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - no shell, and only the stack's own services
                [*leash, *self.command],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=self.inherited_sockets,
                cwd=self.folder,
            )

    def wait_ready(self, is_ready: Callable[[], bool], timeout_seconds: float = 30.0) -> None:
        """Wait until the service answers.

        Raises:
            ServiceFailed: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.running:
                raise self.failure()
            if time.monotonic() > deadline:
                self.stop()
                raise self.failure(f"did not become ready within {timeout_seconds:.0f} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, wait the grace time, then kill it and whatever is left of its group."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Stop it and start the same command again; the caller waits until it is ready."""
        self.stop()
        self.start()

    def failure(self, reason: str = "") -> ServiceFailed:
        """Describe why it is not there: how it ended, its last words, and what to do."""
        lines = [f"{self.name} {reason or self._how_it_ended()}."]
        last_words = self._last_log_lines()
        if last_words:
            lines.append("Its last lines:")
            lines += [f"  {line}" for line in last_words]
        lines.append(f"Log: {self.log_file}")
        if self.hint:
            lines.append(self.hint)
        return ServiceFailed("\n".join(lines))

    def _how_it_ended(self) -> str:
        code = self._process.poll() if self._process else None
        if code is None:
            return "is not running"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def _last_log_lines(self) -> list[str]:
        try:
            with self.log_file.open("rb") as log:
                log.seek(self._log_start)
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-QUOTED_LOG_LINES:]


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what any program needs from the user's environment, and nothing that would steer ours.

    In particular no ``AWS_*``: the emulated cloud must never see real credentials, nor talk to a real endpoint.
    """
    kept = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SYSTEMROOT")
    return {name: value for name, value in environment.items() if name in kept or name.startswith("LC_")}
