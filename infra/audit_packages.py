"""Asks whether locked packages have known vulnerabilities: ``python -m infra.audit_packages``, a part of ``make lint``.

pip-audit asks an advisory service on the network. Where that cannot be reached, as on a train or behind a mirror of
packages only, nothing is known, and that is no reason to stop somebody's work; but it must not look like good news
either. So it is said aloud, and with ``AUDIT_STRICT=1``, for pipelines, it is an error.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.commands import failed

PROJECT = Path(__file__).parents[1]
PIP_AUDIT = PROJECT / ".venv-lint" / "bin" / "pip-audit"
LOCKS = ("requirements.txt", "requirements-dev.txt")
"""What ships, and what it is built, tested and run on a laptop with."""
REASONS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is known about a lock's packages."""

    lock: str
    vulnerabilities: tuple[str, ...] = ()
    audited: int = 0
    unknown: tuple[str, ...] = ()
    """Packages that the service told nothing about, or why it was not asked."""


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Audit the locks, say what is known, and return the exit code."""
    if not PIP_AUDIT.exists():
        return failed(f"{PIP_AUDIT} is not there: `make lint` installs it.")
    with ThreadPoolExecutor() as pool:
        audits = list(pool.map(audit, LOCKS))
    return conclude(audits, strict=environment.get("AUDIT_STRICT", "") not in ("", "0"))


def conclude(audits: Sequence[Audit], *, strict: bool) -> int:
    """Say what the audits found and return the exit code: what is not known is an error only where it is to be."""
    for known in audits:
        if known.audited:
            print(f"{known.lock}: {known.audited} packages audited, {len(known.vulnerabilities)} vulnerabilities")
        if known.unknown:
            print(not_audited(known), file=sys.stderr)
    vulnerabilities = [f"{known.lock}: {found}" for known in audits for found in known.vulnerabilities]
    if vulnerabilities:
        return failed("\n".join(["Packages with known vulnerabilities:", *vulnerabilities]))
    if strict and any(known.unknown for known in audits):
        return failed("AUDIT_STRICT is set: packages that were not audited are an error.")
    return 0


def not_audited(known: Audit) -> str:
    """Return what is said of packages that nothing is known about; the first reasons stand for the others."""
    extent = "SOME PACKAGES WERE NOT AUDITED" if known.audited else "NOTHING WAS AUDITED"
    more = len(known.unknown) - REASONS_SHOWN
    reasons = [*known.unknown[:REASONS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([f"{known.lock}: {extent}", *(f"  {reason}" for reason in reasons)])


def audit(lock: str) -> Audit:
    """Have pip-audit look at a lock."""
    # The lock names every package, so that pip need not be asked what else would be installed.
    command = [str(PIP_AUDIT), "--requirement", str(PROJECT / lock), "--disable-pip", "--no-deps"]
    done = subprocess.run(  # noqa: S603 - no shell, and names of our own files
        [*command, "--format", "json", "--progress-spinner", "off"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return read_report(lock, done.stdout, done.stderr)


def read_report(lock: str, report: str, complaint: str) -> Audit:
    """Say what pip-audit's report means.

    Args:
        lock: The file it looked at.
        report: What it wrote as JSON; nothing when it failed, as it does where the service cannot be reached.
        complaint: What it wrote on stderr.
    """
    try:
        packages = json.loads(report)["dependencies"]
    except ValueError:
        last = (complaint.strip().splitlines() or ["pip-audit says nothing"])[-1]
        return Audit(lock=lock, unknown=(last,))
    return Audit(
        lock=lock,
        vulnerabilities=tuple(
            f"{package['name']} {package['version']}: {found['id']} ({_remedy(found['fix_versions'])})"
            for package in packages
            for found in package.get("vulns", [])
        ),
        audited=sum("vulns" in package for package in packages),
        unknown=tuple(package["skip_reason"] for package in packages if "skip_reason" in package),
    )


def _remedy(versions: Sequence[str]) -> str:
    return f"fixed in {', '.join(versions)}" if versions else "not fixed yet"


if __name__ == "__main__":
    sys.exit(main())
