"""The emulated AWS: MiniStack, run by this Python, so that its Lambda workers run by it too."""

import shutil
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from infra.local.processes import ChildProcess, free_port, plain_environment


class LocalEmulator:
    """MiniStack on loopback. All it knows is in memory: a restart is an empty cloud."""

    name = "Emulated AWS"

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self._unpacked = data_dir / "tmp"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = ChildProcess(
            name="The emulated AWS (MiniStack)",
            command=[sys.executable, "-m", "ministack"],
            environment=self._settings(plain_environment(environment)),
            log_file=data_dir / "logs" / "emulator.log",
            # It waits for every call in flight, and the market watch always is in one, for up to a minute. What a
            # killed call leaves undone, the next start takes up.
            grace_seconds=0.5,
        )

    def start(self) -> None:
        # Every Lambda process unpacks its code here, and after a crash nobody else removes it.
        shutil.rmtree(self._unpacked, ignore_errors=True)
        self._unpacked.mkdir(parents=True)
        self.process.start()
        self.process.wait_ready(self._answers)

    def stop(self) -> None:
        self.process.stop()
        shutil.rmtree(self._unpacked, ignore_errors=True)

    def restart(self) -> None:
        """Stop it with every Lambda process and start it empty: the engine must be deployed again."""
        self.stop()
        self.start()

    def _settings(self, environment: Mapping[str, str]) -> dict[str, str]:
        # Lambda processes inherit all of this. Files that do not exist keep the SDK in them from reading the
        # user's profile, which could name another region, endpoint or account.
        return {
            **environment,
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_WARM_TTL_SECONDS": "86400",
            "DOCKER_HOST": "unix:///nonexistent",
            "TMPDIR": str(self._unpacked),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONUNBUFFERED": "1",
        }

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=1.0)
        try:
            connection.request("GET", "/_ministack/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
