"""The settings of what runs on this machine: the environment's, and besides them those of ``.env``."""

import pytest

from infra.commands import EXIT_BAD_SETTINGS
from infra.local.settings_file import local_environment


@pytest.fixture
def settings_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("PORT=3001\nMOCK_SEED=7\nREDIS_URL=\nDATABASE_URL=postgresql://u:${HOME}@db/orders\n")
    return file


def test_the_environment_wins_over_the_file(settings_file):
    environment = local_environment({"PORT": "3002", "USER": "u"}, settings_file)

    assert (environment["PORT"], environment["MOCK_SEED"], environment["USER"]) == ("3002", "7", "u")


def test_what_is_empty_counts_as_absent(settings_file):
    environment = local_environment({"PORT": ""}, settings_file)

    assert environment["PORT"] == "3001"
    assert "REDIS_URL" not in environment


def test_a_value_of_the_file_is_taken_as_it_stands(settings_file):
    assert local_environment({"HOME": "/root"}, settings_file)["DATABASE_URL"] == "postgresql://u:${HOME}@db/orders"


def test_without_a_file_the_environment_is_all(tmp_path):
    assert local_environment({"PORT": "3002"}, tmp_path / ".env") == {"PORT": "3002"}


def test_settings_that_cannot_be_used_end_the_command_and_are_named(settings_file, capsys):
    with pytest.raises(SystemExit) as ended:
        local_environment({"MAX_RETRIES": "0", "LOG_LEVEL": "LOUD"}, settings_file)

    assert ended.value.code == EXIT_BAD_SETTINGS
    heading, *named = capsys.readouterr().err.splitlines()
    assert heading == "These settings cannot be used:"
    assert [line.split(" ")[0] for line in named] == ["MAX_RETRIES='0'", "LOG_LEVEL='LOUD'"]
