"""What docker-compose.localstack.yml would start, as far as that can be seen without an engine for containers."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from infra import localstack

COMPOSE = Path(__file__).parents[3] / "docker-compose.localstack.yml"
REQUIREMENTS = COMPOSE.with_name("requirements-dev.txt")
FILE = YAML(typ="safe").load(COMPOSE)
SERVICES = FILE["services"]
EMULATORS = ("localstack", "ministack")


def test_the_file_is_what_compose_understands():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_every_service_has_a_health_check_and_waits_for_those_of_the_servers():
    assert [name for name, service in SERVICES.items() if not service["healthcheck"]["test"]] == []
    for emulator in EMULATORS:
        assert SERVICES[emulator]["depends_on"] == {
            "postgres": {"condition": "service_healthy"},
            "redis": {"condition": "service_healthy"},
        }


def test_every_port_is_open_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service["ports"]]

    assert len(ports) == 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_are_pinned_to_a_version():
    for service in SERVICES.values():
        assert re.fullmatch(r"[\w/]+:\d+(\.\d+)+(-\w+)?", service["image"]), service["image"]


def test_the_emulator_in_a_container_is_the_one_of_the_laptop():
    (version,) = re.findall(r"^ministack==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)

    # Only the full image expands the SAM transform.
    assert SERVICES["ministack"]["image"] == f"ministackorg/ministack:{version}-full"


def test_data_is_kept_in_named_volumes():
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert named - {"/var/run/docker.sock"} == FILE["volumes"].keys()


def test_an_emulator_starts_only_when_its_profile_is_named_and_the_servers_start_with_either():
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "localstack": ["localstack"],
        "ministack": ["ministack"],
        "postgres": None,
        "redis": None,
    }


def test_no_variable_is_asked_for_before_the_profiles_are_looked_at():
    # ${NAME:?...} would stop Compose whatever the profile, and so MiniStack, which needs no token.
    assert re.findall(r"\$\{\w+:?\?", re.sub(r"^ *#.*$", "", COMPOSE.read_text(), flags=re.MULTILINE)) == []
    assert "TOKEN" not in str(SERVICES["ministack"])


@pytest.mark.parametrize("token", ["", "ls-1"])
def test_localstack_says_what_is_missing_when_it_has_no_token(token, tmp_path):
    shell, option, script = SERVICES["localstack"]["entrypoint"]
    entrypoint = tmp_path / "docker-entrypoint.sh"
    entrypoint.write_text("#!/bin/sh\necho started\n")
    entrypoint.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LOCALSTACK_AUTH_TOKEN": token}

    # Compose takes $$ for a dollar sign.
    ran = subprocess.run(
        [shell, option, script.replace("$$", "$")], env=environment, capture_output=True, text=True, check=False
    )

    assert SERVICES["localstack"]["environment"]["LOCALSTACK_AUTH_TOKEN"] == "${LOCALSTACK_AUTH_TOKEN:-}"
    if token:
        assert (ran.returncode, ran.stdout) == (0, "started\n")
    else:
        assert ran.returncode == 55
        assert "LOCALSTACK_AUTH_TOKEN is not set" in ran.stderr
        assert "--profile ministack" in ran.stderr


def test_functions_find_the_servers_under_the_names_that_they_have_in_the_network():
    database, redis, emulator = (
        urlsplit(localstack.DEFAULTS[name]) for name in ("DATABASE_URL", "REDIS_URL", "EMULATOR_URL")
    )
    postgres = SERVICES["postgres"]["environment"]

    assert (database.hostname, database.port) == ("postgres", 5432)
    assert (database.username, database.password) == ("postgres", postgres["POSTGRES_PASSWORD"])
    assert database.path == f"/{postgres['POSTGRES_DB']}"
    assert (redis.hostname, redis.port) == ("redis", 6379)
    for name in EMULATORS:
        assert SERVICES[name]["networks"] == {"default": {"aliases": [emulator.hostname]}}
        assert SERVICES[name]["ports"] == [f"127.0.0.1:{emulator.port}:{emulator.port}"]
    # LocalStack runs functions in containers of their own.
    assert SERVICES["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"] == FILE["networks"]["default"]["name"]


def test_this_machine_finds_the_database_under_the_port_that_is_published():
    host, inside = (urlsplit(localstack.DEFAULTS[name]) for name in ("HOST_DATABASE_URL", "DATABASE_URL"))

    assert SERVICES["postgres"]["ports"] == [f"127.0.0.1:{host.port}:{inside.port}"]
    assert host.hostname == "localhost"
    assert (host.username, host.password, host.path) == (inside.username, inside.password, inside.path)


def test_who_has_nothing_running_is_told_lines_that_the_file_answers_to():
    for emulator in EMULATORS:
        assert f"-f {COMPOSE.name} --profile {emulator} up --wait" in localstack.HOW_TO_START
