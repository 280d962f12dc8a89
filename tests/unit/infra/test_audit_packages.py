"""What is made of what pip-audit says of the locked packages, and of what it does not know."""

import json

import pytest

from infra import audit_packages
from infra.audit_packages import Audit, audit, conclude, main, not_audited, read_report

LOCK = "requirements.txt"
FINE = {"name": "redis", "version": "8.1.0", "vulns": []}
VULNERABLE = {
    "name": "jmespath",
    "version": "1.1.0",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["1.1.1", "1.2"]}, {"id": "CVE-2026-2", "fix_versions": []}],
}
UNKNOWN = {"name": "msgspec", "skip_reason": "Dependency not found: msgspec (0.22.0)"}


def report(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


def test_every_vulnerability_is_named_with_its_remedy():
    known = read_report(LOCK, report(FINE, VULNERABLE), "")

    assert known.vulnerabilities == (
        "jmespath 1.1.0: CVE-2026-1 (fixed in 1.1.1, 1.2)",
        "jmespath 1.1.0: CVE-2026-2 (not fixed yet)",
    )
    assert (known.audited, known.unknown) == (2, ())


def test_a_package_that_the_service_does_not_know_is_not_taken_for_a_safe_one():
    known = read_report(LOCK, report(FINE, UNKNOWN), "")

    assert (known.audited, known.unknown) == (1, ("Dependency not found: msgspec (0.22.0)",))


@pytest.mark.parametrize(
    ("complaint", "reason"),
    [("Traceback\nConnectionError: no route\n", "ConnectionError: no route"), ("", "pip-audit says nothing")],
    ids=["complaint", "silence"],
)
def test_a_service_that_cannot_be_reached_audits_nothing(complaint, reason):
    assert read_report(LOCK, "", complaint) == Audit(lock=LOCK, unknown=(reason,))


def test_a_vulnerability_fails(capsys):
    assert conclude([Audit(lock=LOCK, audited=2, vulnerabilities=("jmespath 1.1.0: CVE",))], strict=False) == 1
    assert "requirements.txt: jmespath 1.1.0: CVE" in capsys.readouterr().err


def test_nothing_known_is_fine(capsys):
    assert conclude([Audit(lock=LOCK, audited=2)], strict=True) == 0

    told = capsys.readouterr()
    assert (told.out, told.err) == ("requirements.txt: 2 packages audited, 0 vulnerabilities\n", "")


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)], ids=["at-work", "in-a-pipeline"])
def test_nothing_audited_is_said_aloud_and_fails_where_that_is_asked_for(strict, code, capsys):
    assert conclude([Audit(lock=LOCK, unknown=("no route",))], strict=strict) == code

    told = capsys.readouterr()
    assert told.err.startswith("requirements.txt: NOTHING WAS AUDITED\n  no route\n")
    assert told.out == ""


def test_some_that_were_not_audited_are_said_aloud_as_well():
    known = Audit(lock=LOCK, audited=1, unknown=tuple(f"no {number}" for number in range(5)))

    assert not_audited(known).splitlines() == [
        "requirements.txt: SOME PACKAGES WERE NOT AUDITED",
        *("  no 0", "  no 1", "  no 2", "  and 2 more"),
    ]


@pytest.fixture
def pip_audit(tmp_path, monkeypatch):
    """Put a shell script in pip-audit's place."""
    file = tmp_path / "pip-audit"
    monkeypatch.setattr(audit_packages, "PIP_AUDIT", file)

    def put(script):
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return put


@pytest.mark.parametrize(("setting", "code"), [("", 0), ("0", 0), ("1", 1)])
def test_pipelines_are_strict_by_a_variable(pip_audit, setting, code):
    pip_audit("echo no route >&2; exit 1")

    assert main({"AUDIT_STRICT": setting}) == code


def test_both_locks_are_audited(pip_audit, capsys):
    pip_audit(f"echo '{report(FINE)}'")

    assert main({}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "requirements.txt: 1 packages audited, 0 vulnerabilities",
        "requirements-dev.txt: 1 packages audited, 0 vulnerabilities",
    ]


def test_the_lock_alone_says_what_is_audited(pip_audit):
    pip_audit('echo "$*" >&2; exit 1')

    (called_with,) = audit(LOCK).unknown
    assert f"{audit_packages.PROJECT / LOCK} --disable-pip --no-deps" in called_with


def test_without_pip_audit_it_says_how_it_is_installed(pip_audit, capsys):
    assert main({}) == 1
    assert "`make lint` installs it" in capsys.readouterr().err
