"""The pipelines as they are written: whether GitHub and CodeBuild would take them, and what they would do."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from infra.packaging import ARCHIVE, LAMBDA_PYTHONS, TEMPLATE

PROJECT = Path(__file__).parents[3]
WORKFLOWS = {path.name: path for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml"))}
BUILDSPEC = PROJECT / "buildspec.yml"
BUILDSPEC_PHASES = {"install", "pre_build", "build", "post_build"}
"""https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html"""
TESTED = {"lint", "test", "bench-quick"}


def read(path):
    return YAML(typ="safe").load(path)


def jobs(name):
    return read(WORKFLOWS[name])["jobs"]


def every_job():
    return [(f"{name}:{key}", job) for name in WORKFLOWS for key, job in jobs(name).items()]


def steps(job):
    return job.get("steps", [])


def makes(script):
    """Return the make targets that a script calls, in their order."""
    return re.findall(r"\bmake ([a-z-]+)", script)


def targets_of(name):
    """Return the make targets that a workflow calls, itself or by the workflows that it calls."""
    called = []
    for job in jobs(name).values():
        called += [target for step in steps(job) for target in makes(step.get("run", ""))]
        if "uses" in job:
            called += targets_of(Path(job["uses"]).name)
    return called


def buildspec_targets():
    return [target for phase in read(BUILDSPEC)["phases"].values() for target in makes("\n".join(phase["commands"]))]


def make_targets():
    """Return the targets that `make help` explains."""
    return set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def test_workflows_are_what_github_understands():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]

    checked = subprocess.run([*command, *WORKFLOWS.values()], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


def test_the_buildspec_is_what_codebuild_understands():
    buildspec = read(BUILDSPEC)

    assert buildspec["version"] == 0.2
    assert buildspec.keys() <= {"version", "env", "phases", "artifacts", "cache"}
    assert buildspec["phases"].keys() <= BUILDSPEC_PHASES
    for phase in buildspec["phases"].values():
        assert phase.keys() <= {"on-failure", "runtime-versions", "commands"}


@pytest.mark.parametrize("pipeline", [*WORKFLOWS, BUILDSPEC.name])
def test_every_make_target_that_a_pipeline_calls_exists(pipeline):
    called = buildspec_targets() if pipeline == BUILDSPEC.name else targets_of(pipeline)

    assert called
    assert set(called) <= make_targets()


def test_both_pipelines_call_the_same_targets_in_the_same_order():
    once = list(dict.fromkeys(targets_of("deploy.yml")))

    targets = [target for target in once if target != "setup"]
    assert targets == ["lint", "test", "bench-quick", "package", "deploy", "health"]
    assert [target for target in buildspec_targets() if target != "setup"] == targets


def test_pull_requests_are_tested_and_nothing_is_deployed_for_them():
    pull_request = {name for name in WORKFLOWS if "pull_request" in read(WORKFLOWS[name])["on"]}

    assert pull_request == {"test.yml"}
    assert set(targets_of("test.yml")) == TESTED
    # What runs a stranger's code with our permissions.
    assert not [name for name in WORKFLOWS if "pull_request_target" in read(WORKFLOWS[name])["on"]]


def test_main_is_tested_before_it_is_packaged_and_staged_before_it_is_in_prod():
    deploy = jobs("deploy.yml")

    assert "main" in read(WORKFLOWS["deploy.yml"])["on"]["push"]["branches"]
    assert Path(deploy["test"]["uses"]).name == "test.yml"
    assert [deploy[name].get("needs") for name in ("package", "staging", "prod")] == ["test", "package", "staging"]


def test_tests_run_on_the_oldest_python_and_on_the_one_that_ships():
    pythons = jobs("test.yml")["test"]["strategy"]["matrix"]["python"]

    assert pythons == ["3.11", "3.13"]
    assert 'requires-python = ">=3.11"' in (PROJECT / "pyproject.toml").read_text()


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_a_stage_is_deployed_in_the_environment_of_its_name_which_asks_for_approval(stage):
    caller, deployment = jobs("deploy.yml")[stage], jobs("deploy-stage.yml")["deploy"]

    assert Path(caller["uses"]).name == "deploy-stage.yml"
    assert caller["with"] == {"stage": stage}
    assert deployment["environment"] == "${{ inputs.stage }}"
    assert stage in json.loads((PROJECT / ".chalice" / "config.json").read_text())["stages"]


def test_only_what_stands_in_an_environment_deploys():
    for name, job in every_job():
        called = {target for step in steps(job) for target in makes(step.get("run", ""))}
        assert "environment" in job or not called & {"deploy"}, name


def test_deployments_never_overlap_and_none_is_cut_short():
    assert read(WORKFLOWS["deploy.yml"])["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    # In a group of the same name, the workflow that is called would wait for the one that calls it.
    assert read(WORKFLOWS["test.yml"])["concurrency"]["group"] == "test-${{ github.ref }}"


def test_what_is_deployed_was_built_once():
    package = [step.get("run") for step in steps(jobs("deploy.yml")["package"]) if "run" in step]
    deployment = steps(jobs("deploy-stage.yml")["deploy"])

    assert package == ["make package STAGE=staging", "make package STAGE=prod"]
    assert 'make deploy STAGE="$STAGE" PACKAGE="package/$STAGE/out"' in [step.get("run") for step in deployment]
    assert not [step for step in deployment if "make package" in step.get("run", "")]


def test_no_pipeline_holds_a_key():
    for path in (*WORKFLOWS.values(), BUILDSPEC):
        text = path.read_text().lower()
        assert "secrets." not in text, path
        assert "access_key" not in text, path
        assert "access-key" not in text, path
        assert "parameter-store" not in text, path


def test_permissions_are_the_least():
    for name, workflow in ((name, read(path)) for name, path in WORKFLOWS.items()):
        assert workflow["permissions"] in ({}, {"contents": "read"}), name
    granted = {name: job.get("permissions", {}) for name, job in every_job()}
    with_identity = {name for name, permissions in granted.items() if "id-token" in permissions}

    assert with_identity == {"deploy.yml:staging", "deploy.yml:prod", "deploy-stage.yml:deploy"}
    for name, permissions in granted.items():
        assert permissions.items() <= {"contents": "read", "id-token": "write"}.items(), name


def test_credentials_are_taken_after_everything_is_installed_and_only_to_deploy():
    deployment = steps(jobs("deploy-stage.yml")["deploy"])
    said = [step.get("run") or step["uses"].partition("@")[0] for step in deployment]

    at = said.index("aws-actions/configure-aws-credentials")
    assert said.index("make setup") < at
    assert [makes(run) for run in said[at + 1 :]] == [["deploy"], ["health"]]
    assert deployment[at]["with"]["role-to-assume"] == "${{ vars.AWS_DEPLOY_ROLE }}"


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it():
    used = [line.strip() for path in WORKFLOWS.values() for line in path.read_text().splitlines() if "- uses:" in line]

    assert used
    for line in used:
        assert re.fullmatch(r"- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    # One action has one version.
    assert len({line.split("@")[0] for line in used}) == len(set(used))


def test_the_variables_of_an_environment_are_the_settings_of_its_stage():
    (taken,) = [step for step in steps(jobs("deploy-stage.yml")["deploy"]) if "VARIABLES" in step.get("env", {})]

    # Both templates' parameters are read from the environment, so none has to be named here.
    assert taken["env"] == {"VARIABLES": "${{ toJSON(vars) }}"}
    assert taken["run"].endswith('<<< "$VARIABLES" >> "$GITHUB_ENV"')


def test_pipelines_package_with_a_python_that_lambda_runs():
    shipping = {f"{major}.{minor}" for major, minor in LAMBDA_PYTHONS}
    for job in (jobs("deploy.yml")["package"], jobs("deploy-stage.yml")["deploy"]):
        (installed,) = [step["with"]["python-version"] for step in steps(job) if "setup-python" in step.get("uses", "")]
        assert installed in shipping
        assert job["env"]["PYTHON"] == f"python{installed}"
    buildspec = read(BUILDSPEC)
    installed = buildspec["phases"]["install"]["runtime-versions"]["python"]

    assert installed in shipping
    assert buildspec["env"]["variables"]["PYTHON"] == f"python{installed}"


def test_a_build_that_fails_goes_no_further():
    phases = read(BUILDSPEC)["phases"]

    assert {phase["on-failure"] for phase in phases.values()} == {"ABORT"}
    # It runs after a build that failed.
    assert "post_build" not in phases


def test_the_build_hands_on_the_template_the_zip_and_how_the_ratios_compare():
    assert read(BUILDSPEC)["artifacts"] == {
        "base-directory": ".local/build",
        "files": [f"*/out/{TEMPLATE}", f"*/out/{ARCHIVE}", "bench-quick.txt"],
    }
    uploaded = [
        step["with"]["path"] for step in steps(jobs("deploy.yml")["package"]) if "upload" in step.get("uses", "")
    ]
    assert uploaded == [".local/build/*/out/"]
