"""From the source tree to the package: what decides its contents, and what is added to it."""

import hashlib
import json
import marshal
import platform
import shutil
import sys
import zipfile
from itertools import pairwise

import pytest

from infra import packaging
from infra.packaging import (
    ARCHIVE,
    TEMPLATE,
    PackagingError,
    add_bytecode,
    architecture_for,
    build_package,
    inputs_digest,
    install_command,
    load_package,
    main,
    stage_config,
    unzipped_size,
    wants_real_venues,
    wheel_target,
)

CONFIG = {"lambda_architecture": "arm64", "stages": {"prod": {}, "local": {"x": 1}}}


@pytest.fixture
def project(tmp_path):
    """A source tree with everything a package is made of."""
    for folder in ("chalicelib", ".chalice", "infra"):
        (tmp_path / folder).mkdir()
    for file in ("app.py", "requirements.txt", "requirements-solana.txt", "chalicelib/engine.py", "infra/app.json"):
        (tmp_path / file).write_text("1")
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "aarch64", "arm64"])
def test_an_emulator_runs_the_code_on_this_machine(machine, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)

    assert architecture_for("local") == ("arm64" if machine in ("aarch64", "arm64") else "x86_64")
    assert architecture_for("prod") is None


def test_only_an_emulated_stage_gets_the_machines_architecture():
    assert stage_config(CONFIG, "prod") == CONFIG
    assert stage_config(CONFIG, "local")["stages"] == {
        "prod": {},
        "local": {"x": 1, "lambda_architecture": architecture_for("local")},
    }


def test_an_unknown_stage_is_named_with_those_there_are():
    with pytest.raises(PackagingError, match=r"Stage 'test' is not in .* it has: local, prod"):
        stage_config(CONFIG, "test")


@pytest.mark.parametrize(("stage", "machine"), [("prod", "aarch64"), ("dev", "x86_64")])
def test_wheels_are_for_the_machine_that_runs_the_code(stage, machine):
    config = {"lambda_architecture": "arm64", "stages": {"prod": {}, "dev": {"lambda_architecture": "x86_64"}}}
    target = wheel_target(config, stage)

    platforms = [value for option, value in pairwise(target) if option == "--platform"]
    assert platforms == [f"manylinux2014_{machine}", f"manylinux_2_28_{machine}"]
    assert wheel_target({"stages": {"local": {}}}, "local") == []


def test_wheels_are_for_the_python_that_packages_unless_another_is_asked_for():
    config = {"lambda_architecture": "arm64", "stages": {"prod": {}}}
    here, asked = wheel_target(config, "prod"), wheel_target(config, "prod", (3, 13))

    assert ("--python-version", f"{sys.version_info.major}.{sys.version_info.minor}") in pairwise(here)
    assert ("--python-version", "3.13") in pairwise(asked)


def test_nothing_is_installed_that_is_not_locked_and_nothing_is_built_here(tmp_path):
    locks = [tmp_path / "requirements.txt", tmp_path / "requirements-solana.txt"]
    command = install_command(locks, tmp_path / "packages", ["--platform", "any"])

    assert command[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "--only-binary", "--platform"} <= set(command)
    assert command[-6:-4] == ["--target", f"{tmp_path}/packages"]
    assert command[-4:] == [word for lock in locks for word in ("--requirement", str(lock))]


def test_bytecode_that_is_there_is_kept(tmp_path):
    path = archive(tmp_path / "deployment.zip", app="X = 1")
    compiled = f"__pycache__/app.{sys.implementation.cache_tag}.pyc"
    with zipfile.ZipFile(path, "a") as built:
        built.writestr(compiled, b"made before")

    add_bytecode(path)

    with zipfile.ZipFile(path) as built:
        assert built.read(compiled) == b"made before"


@pytest.mark.parametrize(("stage", "folders"), [("prod", {"prod"}), ("local", {"local", "local-real-venues"})])
def test_both_kinds_of_package_are_built_apart_where_they_may_run_side_by_side(tmp_path, stage, folders):
    built = {packaging._build_folder(tmp_path, stage, real_venues=real).name for real in (False, True)}

    assert built == folders


def test_a_missing_source_is_named(project, tmp_path):
    (project / "app.py").unlink()

    with pytest.raises(PackagingError, match=r"app\.py is missing"):
        build_package(project, tmp_path / "build", "local")


@pytest.mark.parametrize(
    "file", ["app.py", "requirements.txt", "chalicelib/engine.py", "infra/app.json", ".chalice/config.json"]
)
def test_a_change_of_any_source_makes_a_new_package(project, file):
    before = inputs_digest(project, "local")
    (project / file).write_text("2")

    assert inputs_digest(project, "local") != before


def test_what_the_real_venues_need_makes_another_package_of_those_that_have_it_only(project):
    def digests():
        return [inputs_digest(project, "local", real_venues=real) for real in (False, True)]

    simulated, real = digests()
    (project / "requirements-solana.txt").write_text("2")

    assert simulated != real
    assert [before == after for before, after in zip((simulated, real), digests(), strict=True)] == [True, False]


@pytest.mark.parametrize(("old", "new"), [("routing", "paths"), ("routing/router.py", "router.py")])
def test_a_renamed_folder_or_a_module_that_moved_makes_a_new_package(project, old, new):
    sources = project / "chalicelib"
    (sources / "routing").mkdir()
    (sources / "routing" / "router.py").write_text("1")
    before = inputs_digest(project, "local")
    (sources / old).rename(sources / new)

    assert inputs_digest(project, "local") != before


def test_the_same_sources_in_another_folder_need_no_new_package(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(project, elsewhere)

    assert inputs_digest(elsewhere, "local") == inputs_digest(project, "local")


@pytest.mark.parametrize("file", ["README.md", "chalicelib/__pycache__/engine.pyc", ".chalice/deployments/sam.zip"])
def test_what_is_not_shipped_makes_no_new_package(project, file):
    before = inputs_digest(project, "local")
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text("2")

    assert inputs_digest(project, "local") == before


def archive(path, **contents):
    with zipfile.ZipFile(path, "w") as built:
        for name, text in contents.items():
            built.writestr(name.replace("__", "/") + ".py", text)
    return path


def test_every_module_ships_with_bytecode_that_is_never_checked_against_the_source(tmp_path):
    path = archive(tmp_path / "deployment.zip", app="X = 1", chalicelib__engine="Y = 2")

    add_bytecode(path)

    with zipfile.ZipFile(path) as built:
        names = built.namelist()
        compiled = [name for name in names if name.endswith(".pyc")]
        assert len(names) == 4
        assert {name.split(".")[0] for name in compiled} == {"__pycache__/app", "chalicelib/__pycache__/engine"}
        for name in compiled:
            flags = int.from_bytes(built.read(name)[4:8], "little")
            assert flags == 0b01  # hash-based, unchecked (PEP 552)
            code = marshal.loads(built.read(name)[16:])
            assert code.co_filename.startswith("/var/task/")


def test_the_same_contents_give_the_same_bytes(tmp_path):
    first = archive(tmp_path / "first.zip", app="X = 1", b="Y = 2")
    second = archive(tmp_path / "second.zip", b="Y = 2", app="X = 1")

    for path in (first, second):
        add_bytecode(path)

    assert first.read_bytes() == second.read_bytes()


def test_a_package_that_was_built_before_is_what_its_folder_holds(tmp_path):
    (tmp_path / TEMPLATE).write_text('{"Resources": {}}')
    built = archive(tmp_path / ARCHIVE, app="X = 1")

    package = load_package(tmp_path)

    assert package.template == {"Resources": {}}
    assert package.archive == built
    assert package.archive_digest == hashlib.sha256(built.read_bytes()).hexdigest()


@pytest.mark.parametrize("module", ["solders__keypair", "chalicelib__venues__raydium"])
def test_a_package_can_swap_for_real_if_it_has_what_that_needs(tmp_path, module):
    (tmp_path / TEMPLATE).write_text("{}")
    archive(tmp_path / ARCHIVE, **{module: ""})

    assert load_package(tmp_path).real_venues is module.startswith("solders")


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, False), ({"USE_REAL_DEVNET": ""}, False), ({"USE_REAL_DEVNET": "False"}, False)]
    + [({"USE_REAL_DEVNET": value}, True) for value in ("true", " True ")],
)
def test_the_environment_says_whether_a_package_swaps_for_real(environment, wanted):
    assert wants_real_venues(environment) is wanted


def test_what_says_neither_is_refused():
    with pytest.raises(PackagingError, match=r"USE_REAL_DEVNET='maybe' cannot be used: allowed is one of true, false"):
        wants_real_venues({"USE_REAL_DEVNET": "maybe"})


def test_a_package_that_lambda_would_not_take_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / ARCHIVE, app="X = 1", chalicelib__engine="Y = 2")
    assert unzipped_size(path) == 10

    monkeypatch.setattr(packaging, "LARGEST_UNZIPPED", 10)
    packaging._check_size(path)
    monkeypatch.setattr(packaging, "LARGEST_UNZIPPED", 9)
    with pytest.raises(PackagingError, match="10 bytes unzipped, and Lambda takes 9"):
        packaging._check_size(path)


@pytest.mark.parametrize("missing", [TEMPLATE, ARCHIVE])
def test_a_folder_without_a_package_is_named_with_what_it_lacks(tmp_path, missing):
    for file in {TEMPLATE, ARCHIVE} - {missing}:
        (tmp_path / file).write_text("{}")

    with pytest.raises(PackagingError, match=f"{tmp_path} holds no package: {missing} is missing"):
        load_package(tmp_path)


@pytest.mark.parametrize("version", [(3, 11), (3, 14)])
def test_a_python_that_lambda_should_not_run_packages_nothing_for_aws(project, tmp_path, monkeypatch, version):
    class Version(tuple):
        major, minor = version

    monkeypatch.setattr(packaging.sys, "version_info", Version(version))

    with pytest.raises(PackagingError, match=r"3\.12 or 3\.13, not 3\.1[14]\. .*PYTHON=python3\.13 make"):
        build_package(project, tmp_path / "build", "prod")


@pytest.mark.parametrize("real", [True, False])
def test_the_command_says_where_the_package_is_and_what_names_it(tmp_path, monkeypatch, capsys, real):
    (tmp_path / TEMPLATE).write_text("{}")
    built = archive(tmp_path / ARCHIVE, app="X = 1")

    def build(_project, _root, stage, _report, *, real_venues):
        assert (stage, real_venues) == ("prod", real)
        return load_package(tmp_path)

    monkeypatch.setattr(packaging, "build_package", build)
    monkeypatch.setenv("USE_REAL_DEVNET", str(real).lower())

    assert main(["--stage", "prod"]) == 0
    size, template, code = capsys.readouterr().out.splitlines()
    assert size == "5 bytes unzipped, of 262,144,000 that Lambda takes"
    assert template.startswith(f"{tmp_path / TEMPLATE}  2 bytes  sha256 ")
    digest = load_package(tmp_path).archive_digest
    assert code == f"{tmp_path / ARCHIVE}  {built.stat().st_size} bytes  sha256 {digest}"


def test_the_command_says_why_nothing_was_built(capsys):
    assert main(["--stage", "nowhere"]) == 1
    assert capsys.readouterr().err
