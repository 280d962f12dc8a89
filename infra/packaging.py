"""From the source tree to what CloudFormation deploys: a template and one zip.

``python -m infra.packaging --stage prod`` has Chalice build both. Around it stands what it leaves out: its dependency
cache is keyed by the code too, so that every edit would download everything again, and it ships no compiled code, so
that every cold start compiles.
The dependencies are therefore installed once into a folder of their own and handed to Chalice as ``vendor``, and
bytecode is added to the zip. With ``USE_REAL_DEVNET=true`` what the real venues need is among them, and not otherwise.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from infra.commands import failed

Template = dict[str, Any]

PROJECT = Path(__file__).parents[1]
BUILD_ROOT = PROJECT / ".local" / "build"
TEMPLATE, ARCHIVE = "sam.json", "deployment.zip"
"""What Chalice calls the two files of a package."""
SOURCES = ("app.py", "chalicelib", ".chalice")
"""What Chalice packages; ``chalicelib`` and ``.chalice`` are folders."""
REQUIREMENTS, REAL_VENUES = "requirements.txt", "requirements-solana.txt"
"""What always ships, and what the real venues need besides."""
OF_REAL_VENUES = "solders/"
"""How names begin in a package that can swap for real."""
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "deployments", "deployed", "venv")
EMULATED_STAGES = frozenset({"local", "localstack"})
LAMBDA_PYTHONS = ((3, 12), (3, 13))
"""Runtimes AWS supports that every dependency has wheels for; 3.11 is past its end of support on Lambda."""
MANYLINUX = ("manylinux2014", "manylinux_2_28")
"""Wheel platforms that Lambda's Amazon Linux 2023 (glibc 2.34) can load, without the architecture."""
LAMBDA_FOLDER = "/var/task"
"""Where Lambda unpacks the package; tracebacks name files there."""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
LARGEST_UNZIPPED = 250 * 1024 * 1024
"""In bytes: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


class PackagingError(Exception):
    """The package could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class Package:
    """A built package."""

    template: Template
    archive: Path
    archive_digest: str
    """SHA-256 of the zip's contents: the same code gives the same digest."""
    real_venues: bool = False
    """Whether it can swap for real."""


def build_package(
    project: Path,
    build_root: Path,
    stage: str,
    report: Callable[[str], None] = lambda _: None,
    *,
    real_venues: bool = False,
) -> Package:
    """Package the project for a stage, or return the previous package when nothing has changed.

    Args:
        project: The source tree.
        build_root: Where build folders and caches are kept; two builds of a stage wait for each other.
        stage: A stage of ``.chalice/config.json``.
        report: Gets a line for each step that takes time.
        real_venues: Whether what the real venues need is to be in it.

    Raises:
        PackagingError: a source is missing, a dependency cannot be had, Chalice refuses, or it is too large for Lambda.
    """
    requirements = requirements_of(project, real_venues=real_venues)
    _check_sources(project, requirements)
    _check_python(stage)
    build = _build_folder(build_root, stage, real_venues=real_venues)
    with _exclusively(build):
        out, record = build / "out", build / "inputs"
        inputs = inputs_digest(project, stage, real_venues=real_venues)
        if not (record.exists() and record.read_text() == inputs and (out / ARCHIVE).exists()):
            # Whoever is interrupted while building must not leave the record of a whole package.
            record.unlink(missing_ok=True)
            dependencies = _install_dependencies(project, requirements, build_root, stage, report)
            _copy_sources(project, build, stage, dependencies)
            report("packaging")
            _run_chalice(project, build, stage)
            add_bytecode(out / ARCHIVE)
            _check_size(out / ARCHIVE)
            record.write_text(inputs)
        return load_package(out)


def _build_folder(build_root: Path, stage: str, *, real_venues: bool) -> Path:
    """Return where a stage's package is built: one for both kinds, but on a laptop, which may run both side by side."""
    return build_root / (f"{stage}-real-venues" if real_venues and stage in EMULATED_STAGES else stage)


def load_package(folder: Path) -> Package:
    """Return the package that was built into a folder.

    Raises:
        PackagingError: there is none.
    """
    for file in (TEMPLATE, ARCHIVE):
        if not (folder / file).is_file():
            raise PackagingError(f"{folder} holds no package: {file} is missing. `make package` builds one.")
    return Package(
        template=json.loads((folder / TEMPLATE).read_text()),
        archive=folder / ARCHIVE,
        archive_digest=hashlib.sha256((folder / ARCHIVE).read_bytes()).hexdigest(),
        real_venues=_has_real_venues(folder / ARCHIVE),
    )


def wants_real_venues(environment: Mapping[str, str]) -> bool:
    """Say whether a package is to swap for real: all that packaging has to know of the settings.

    Raises:
        PackagingError: it is neither said to nor not to.
    """
    value = environment.get("USE_REAL_DEVNET", "").strip().lower() or "false"
    if value not in ("true", "false"):
        raise PackagingError(f"USE_REAL_DEVNET={value!r} cannot be used: allowed is one of true, false")
    return value == "true"


def requirements_of(project: Path, *, real_venues: bool) -> list[Path]:
    """Return the locks of what ships."""
    return [project / REQUIREMENTS, *([project / REAL_VENUES] if real_venues else [])]


def unzipped_size(archive: Path) -> int:
    """Return how many bytes a zip holds, which is what Lambda limits."""
    with zipfile.ZipFile(archive) as built:
        return sum(entry.file_size for entry in built.infolist())


def _has_real_venues(archive: Path) -> bool:
    with zipfile.ZipFile(archive) as built:
        return any(name.startswith(OF_REAL_VENUES) for name in built.namelist())


def _check_size(archive: Path) -> None:
    if (size := unzipped_size(archive)) > LARGEST_UNZIPPED:
        raise PackagingError(
            f"The package is too large: {size:,} bytes unzipped, and Lambda takes {LARGEST_UNZIPPED:,}."
        )


def package_template(project: Path, stage: str) -> Template:
    """Return the template that ``build_package`` would deploy, without the dependencies that take time.

    Raises:
        PackagingError: Chalice refuses.
    """
    with tempfile.TemporaryDirectory() as temporary:
        build, no_dependencies = Path(temporary) / "build", Path(temporary) / "dependencies"
        build.mkdir()
        no_dependencies.mkdir()
        _copy_sources(project, build, stage, no_dependencies)
        _run_chalice(project, build, stage)
        template: Template = json.loads((build / "out" / "sam.json").read_text())
        return template


def architecture_for(stage: str) -> str | None:
    """Return the Lambda architecture an emulated stage needs, which is this machine's; None leaves the config's."""
    if stage not in EMULATED_STAGES:
        return None
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def stage_config(config: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return Chalice's config with the architecture that this stage needs."""
    stages = config.get("stages", {})
    if stage not in stages:
        raise PackagingError(f"Stage {stage!r} is not in .chalice/config.json; it has: {', '.join(sorted(stages))}.")
    architecture = architecture_for(stage)
    if architecture is None:
        return config
    return {**config, "stages": {**stages, stage: {**stages[stage], "lambda_architecture": architecture}}}


def inputs_digest(project: Path, stage: str, *, real_venues: bool = False) -> str:
    """Return a digest of all that decides what the package contains."""
    digest = hashlib.sha256()
    digest.update(f"{stage} {sys.version} {platform.platform()}".encode())
    digest.update(Path(__file__).read_bytes())
    files = [*requirements_of(project, real_venues=real_venues), project / "infra" / "app.json"]
    for source in SOURCES:
        files += sorted(_shipped_files(project / source))
    for file in files:
        # The whole path: a folder that was renamed, or a module that moved, is another package.
        digest.update(f"\0{file.relative_to(project).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _shipped_files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for folder, folders, files in os.walk(source):
        ignored = NOT_SHIPPED(folder, [*folders, *files])
        folders[:] = sorted(set(folders) - ignored)
        yield from (Path(folder, file) for file in files if file not in ignored)


def _check_sources(project: Path, requirements: Sequence[Path]) -> None:
    for needed in (*(project / source for source in SOURCES), *requirements, project / "infra" / "app.json"):
        if not needed.exists():
            raise PackagingError(f"{needed} is missing.")


def _check_python(stage: str) -> None:
    if stage not in EMULATED_STAGES and sys.version_info[:2] not in LAMBDA_PYTHONS:
        wanted = " or ".join(f"{major}.{minor}" for major, minor in LAMBDA_PYTHONS)
        raise PackagingError(
            f"Chalice packages for the Python it runs on, and AWS should run {wanted}, not "
            f"{sys.version_info.major}.{sys.version_info.minor}. Make the environment again with one of them: "
            "PYTHON=python3.13 make --always-make setup"
        )


@contextmanager
def _exclusively(build: Path) -> Iterator[None]:
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install_dependencies(
    project: Path, requirements: Sequence[Path], build_root: Path, stage: str, report: Callable[[str], None]
) -> Path:
    """Install what ships besides our code, once for each lock, Python and platform."""
    config = json.loads((project / ".chalice" / "config.json").read_text())
    target = wheel_target(config, stage)
    locks = [lock.read_text() for lock in requirements]
    key = hashlib.sha256("\0".join([*locks, sys.version, *target]).encode()).hexdigest()[:16]
    folder = build_root / "dependencies" / key
    if folder.exists():
        return folder
    report("downloading what ships to Lambda")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "site-packages"
        install, compile_all = install_command(requirements, unfinished, target), compile_command(unfinished)
        _run(install, cwd=folder.parent, what="The dependencies could not be installed")
        _run(compile_all, cwd=folder.parent, what="The dependencies could not be compiled")
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process was quicker with the same; otherwise it is a folder that cannot be written to.
            if not folder.exists():
                raise
    return folder


def wheel_target(config: dict[str, Any], stage: str, python: tuple[int, int] = sys.version_info[:2]) -> list[str]:
    """Return pip's options for the machine that runs the code; none when that is this one."""
    if stage == "local":
        return []
    config = stage_config(config, stage)
    architecture = config["stages"][stage].get("lambda_architecture", config.get("lambda_architecture", "x86_64"))
    machine = "aarch64" if architecture == "arm64" else "x86_64"
    options = ["--implementation", "cp", "--python-version", f"{python[0]}.{python[1]}"]
    for baseline in MANYLINUX:
        options += ["--platform", f"{baseline}_{machine}"]
    return options


def install_command(requirements: Sequence[Path], folder: Path, target: Sequence[str]) -> list[str]:
    """Return pip's call: ready-made wheels of what is locked, and nothing that they ask for besides."""
    return [
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--no-compile", "--only-binary", ":all:", *target),
        *("--target", str(folder)),
        *(option for lock in requirements for option in ("--requirement", str(lock))),
    ]


def compile_command(folder: Path) -> list[str]:
    """Return the call that compiles a folder for where Lambda puts it.

    The bytecode is never checked against the source: unpacking the zip changes the times it would look at.
    """
    return [
        *(sys.executable, "-m", "compileall", "-qq", "-j", "0", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(folder), "-p", LAMBDA_FOLDER, str(folder)),
    ]


def _copy_sources(project: Path, build: Path, stage: str, dependencies: Path) -> None:
    for old in (*SOURCES, "out", "vendor"):
        _remove(build / old)
    for source in SOURCES:
        if (project / source).is_dir():
            shutil.copytree(project / source, build / source, ignore=NOT_SHIPPED)
        else:
            shutil.copy2(project / source, build / source)
    config_file = build / ".chalice" / "config.json"
    config_file.write_text(json.dumps(stage_config(json.loads(config_file.read_text()), stage), indent=2))
    # Empty: Chalice would install what it names, and all of that is in vendor.
    (build / "requirements.txt").write_text("")
    (build / "vendor").symlink_to(dependencies.resolve(), target_is_directory=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run_chalice(project: Path, build: Path, stage: str) -> None:
    _run(
        [
            *(sys.executable, "-c", "import sys; from chalice.cli import main; sys.exit(main())"),
            *("--project-dir", str(build), "package", "--stage", stage),
            *("--merge-template", str(project / "infra" / "app.json"), str(build / "out")),
        ],
        cwd=build,
        what=f"`chalice package --stage {stage}` failed",
    )


def _run(command: list[str], cwd: Path, what: str) -> None:
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(  # noqa: S603 - no shell, and commands of this module alone
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip().splitlines()
        raise PackagingError("\n".join([f"{what}:", *(f"  {line}" for line in output[-25:])]))


def add_bytecode(archive: Path) -> None:
    """Rewrite a zip so that every module has its bytecode, and the same contents give the same bytes.

    A cold start imports some hundred modules from a read-only folder; compiling them would cost it about a second.
    """
    with zipfile.ZipFile(archive) as built:
        contents = {name: built.read(name) for name in built.namelist() if not name.endswith("/")}
    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        folder = Path(temporary)
        for name in [name for name in contents if name.endswith(".py") and _bytecode_of(name) not in contents]:
            contents[_bytecode_of(name)] = _compile(name, contents[name], folder)
        rewritten = folder / ARCHIVE
        _write_zip(rewritten, contents)
        rewritten.replace(archive)


def _bytecode_of(module: str) -> str:
    path = PurePosixPath(module)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _write_zip(archive: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, contents[name])


def _compile(name: str, source: bytes, folder: Path) -> bytes:
    source_file, compiled = folder / "module.py", folder / "module.pyc"
    source_file.write_bytes(source)
    py_compile.compile(
        str(source_file),
        cfile=str(compiled),
        dfile=f"{LAMBDA_FOLDER}/{name}",
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    return compiled.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a stage's package and say where it is, and what names it beyond doubt; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.packaging", description="Build what is deployed.")
    parser.add_argument("--stage", required=True, help="a stage of .chalice/config.json, such as prod")
    options = parser.parse_args(arguments)
    try:
        real_venues = wants_real_venues(os.environ)
        package = build_package(PROJECT, BUILD_ROOT, options.stage, print, real_venues=real_venues)
    except PackagingError as error:
        return failed(error)
    print(f"{unzipped_size(package.archive):,} bytes unzipped, of {LARGEST_UNZIPPED:,} that Lambda takes")
    for file in (package.archive.with_name(TEMPLATE), package.archive):
        print(f"{file}  {file.stat().st_size:,} bytes  sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
