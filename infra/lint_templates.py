"""Checks both templates as CloudFormation will get them: ``python -m infra.lint_templates``, a part of ``make lint``.

cfn-lint knows what CloudFormation accepts, checkov what is unsafe. They live in an environment of their own, and
neither asks the network. Both must look at everything: a template that tells cfn-lint to ignore a check is refused,
and checkov, which passes over what it cannot read and says that all is well, must have looked at each file, must not
grumble, and gets loops (``Fn::ForEach``) written out, which it would not look into. A finding of checkov's may be let
pass, one by one, where the resource's metadata says why.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.commands import failed
from infra.packaging import LAMBDA_PYTHONS, PackagingError, Template, package_template

PROJECT = Path(__file__).parents[1]
TOOLS = PROJECT / ".venv-lint" / "bin"
BUILD = PROJECT / ".local" / "lint"
STAGE = "prod"
"""Stages differ in parameters; this one must be right."""
NO_REASON = "No comment provided"
"""What checkov says for a finding that is let pass without a word."""


class LintError(Exception):
    """The templates could not be checked; the message says why."""


@dataclass(frozen=True)
class Verdict:
    """What the tools say."""

    problems: tuple[str, ...]
    let_pass: int = 0
    """How many findings are let pass, each for a reason."""


def main() -> int:
    """Check the templates, say what is wrong, and return the exit code."""
    try:
        templates, written_out = prepare(BUILD)
        verdict = check(templates, written_out)
    except (LintError, PackagingError) as error:
        return failed(error)
    if verdict.problems:
        return failed("\n".join([f"The templates have {len(verdict.problems)} problems:", *verdict.problems]))
    print(f"cfn-lint and checkov find nothing in both templates (let pass for a reason: {verdict.let_pass}).")
    return 0


def prepare(build: Path) -> tuple[list[Path], list[Path]]:
    """Write the engine's template down, and return both templates: as they are, and with loops written out."""
    data, app = PROJECT / "infra" / "data.yaml", on_lambdas_python(package_template(PROJECT, STAGE))
    build.mkdir(parents=True, exist_ok=True)
    as_it_is, written_out = build / "app.json", build / "app-without-loops.json"
    as_it_is.write_text(json.dumps(app, indent=2))
    written_out.write_text(json.dumps(without_loops(app), indent=2))
    return [as_it_is, data], [written_out, data]


def check(templates: Sequence[Path], written_out: Sequence[Path]) -> Verdict:
    """Have both tools look at the templates, side by side.

    Raises:
        LintError: a tool is not installed, or did not do its work.
    """
    with ThreadPoolExecutor() as pool:
        by_cfn_lint = pool.submit(run_cfn_lint, templates)
        by_checkov = pool.submit(run_checkov, written_out)
        found = (*ignored(templates), *by_cfn_lint.result())
        verdict = by_checkov.result()
    return Verdict((*found, *verdict.problems), verdict.let_pass)


def on_lambdas_python(template: Template) -> Template:
    """Return a template whose functions run on the Python that AWS is to run; Chalice names the one it runs on."""
    runtime = "python{}.{}".format(*LAMBDA_PYTHONS[-1])
    resources = dict(template["Resources"])
    for name, resource in resources.items():
        # A loop is a list.
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function":
            resources[name] = {**resource, "Properties": {**resource["Properties"], "Runtime": runtime}}
    return {**template, "Resources": resources}


def without_loops(template: Template) -> Template:
    """Return a template with its ``Fn::ForEach`` written out, as the transform of its name would."""
    from ministack.services.cloudformation import language_extensions  # the whole emulator comes with it

    transforms = template.get("Transform", [])
    transforms = transforms if isinstance(transforms, list) else [transforms]
    if language_extensions.TRANSFORM not in transforms:
        return template
    defaults = {
        name: str(declared["Default"])
        for name, declared in template.get("Parameters", {}).items()
        if "Default" in declared
    }
    expanded: Template = language_extensions.apply(template, defaults)
    return {**expanded, "Transform": [name for name in transforms if name != language_extensions.TRANSFORM]}


def ignored(templates: Iterable[Path]) -> list[str]:
    """Name the templates that tell cfn-lint to ignore something."""
    return [f"{file}: tells cfn-lint to ignore checks" for file in templates if "ignore_checks" in file.read_text()]


def run_cfn_lint(templates: Sequence[Path]) -> list[str]:
    """Return cfn-lint's findings, a line each."""
    done = _run("cfn-lint", "--format", "parseable", *map(str, templates))
    findings = done.stdout.splitlines()
    if done.stderr or (done.returncode != 0 and not findings):
        raise LintError(f"cfn-lint failed:\n{done.stdout}{done.stderr}")
    return findings


def run_checkov(templates: Sequence[Path]) -> Verdict:
    """Return checkov's findings, and what kept it from looking."""
    files = [argument for file in templates for argument in ("--file", str(file))]
    # It would ask its maker's servers for links to explanations.
    done = _run("checkov", "--framework", "cloudformation", "--skip-download", "--output", "json", *files)
    try:
        return read_checkov(json.loads(done.stdout), done.stderr, templates)
    except ValueError as error:
        raise LintError(f"checkov failed:\n{done.stdout}{done.stderr}") from error


def read_checkov(report: Mapping[str, Any], grumbling: str, templates: Iterable[Path]) -> Verdict:
    """Say what checkov's report means.

    Args:
        report: What it wrote as JSON; without ``results`` when it had nothing to look at.
        grumbling: What it wrote on stderr.
        templates: What it was to look at.
    """
    results = report.get("results", {})
    refused, let_pass, fine = (results.get(f"{kind}_checks", []) for kind in ("failed", "skipped", "passed"))
    seen = {Path(check["file_abs_path"]).resolve() for check in (*refused, *let_pass, *fine)}
    problems = [f"{what}: {', '.join(resources)}" for what, resources in _by_check(refused).items()]
    problems += [
        f"{check['file_abs_path']}: {check['check_id']}: skipped without a comment that says why: {check['resource']}"
        for check in let_pass
        if check["check_result"].get("suppress_comment") in (None, "", NO_REASON)
    ]
    problems += [f"{file}: checkov did not look at it" for file in templates if file.resolve() not in seen]
    problems += [f"checkov: {line}" for line in grumbling.splitlines()]
    return Verdict(tuple(problems), len(let_pass))


def _by_check(refused: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Gather the resources in which the same is found: most findings concern every function."""
    found: dict[str, list[str]] = {}
    for check in refused:
        what = f"{check['file_abs_path']}: {check['check_id']}: {check['check_name']}"
        found.setdefault(what, []).append(check["resource"].rpartition(".")[2])
    return found


def _run(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603 - no shell, and commands of this module alone
            [str(TOOLS / tool), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise LintError(f"{TOOLS / tool} is not there: `make lint` installs it.") from error


if __name__ == "__main__":
    sys.exit(main())
