"""What the engine depends on, unpacked once for all Lambda processes.

MiniStack unpacks a function's zip for every process that it starts, each of which the first orders of a burst wait
for. Nearly all of the zip is dependencies: a gigabyte for thirty processes. Here the zip keeps only the engine's own
code, and Python finds the rest where the functions' environment says.
"""

import hashlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from infra.packaging import Package, Template

ARCHIVE = "deployment.zip"
DEPENDENCIES = "dependencies"
OWN_CODE = ("app.py", "__pycache__/app.", "chalicelib/")


def share_dependencies(package: Package, folder: Path) -> Package:
    """Return the package without its dependencies, which its functions then import from ``folder``.

    Only the stack that holds the data folder may call this. What an earlier start unpacked is used again.
    """
    unpacked = folder / package.archive_digest
    if not unpacked.exists():
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = folder / "unfinished"
        _unpack(package.archive, unfinished / DEPENDENCIES, unfinished / ARCHIVE)
        unfinished.rename(unpacked)
    archive = unpacked / ARCHIVE
    return replace(
        package,
        template=_with_variable(package.template, "PYTHONPATH", str(unpacked / DEPENDENCIES)),
        archive=archive,
        archive_digest=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )


def _unpack(package: Path, dependencies: Path, archive: Path) -> None:
    """Unpack the dependencies of a package into one folder, and leave the rest in an archive of its own."""
    dependencies.mkdir(parents=True)
    with zipfile.ZipFile(package) as whole, zipfile.ZipFile(archive, "w") as own:
        for entry in whole.infolist():
            if entry.filename.startswith(OWN_CODE):
                own.writestr(entry, whole.read(entry))
            else:
                whole.extract(entry, dependencies)


def _with_variable(template: Template, name: str, value: str) -> Template:
    """Return the template with one more variable in the environment of every function."""
    functions = template["Globals"]["Function"]
    variables = {**functions["Environment"]["Variables"], name: value}
    return {**template, "Globals": {"Function": {**functions, "Environment": {"Variables": variables}}}}
