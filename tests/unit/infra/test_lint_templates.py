"""What the templates' linters are given, and what is made of what they say."""

import json
from pathlib import Path

import pytest

from infra import lint_templates
from infra.lint_templates import LintError, ignored, read_checkov, run_cfn_lint, run_checkov, without_loops

APP, DATA = Path("/build/app.json"), Path("/infra/data.yaml")
TEMPLATES = [APP, DATA]
LOOP = {
    "Parameters": {"Queues": {"Type": "CommaDelimitedList", "Default": "Orders,Priority"}},
    "Transform": ["AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"],
    "Resources": {
        "Fn::ForEach::Alarms": [
            "Queue",
            {"Ref": "Queues"},
            {"${Queue}Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": {"Ref": "Queue"}}}},
        ]
    },
}


def looked_at(file, resource="AWS::SQS::Queue.Orders", comment=None):
    return {
        "check_id": "CKV_AWS_27",
        "check_name": "Ensure it is encrypted",
        "check_result": {"suppress_comment": comment},
        "file_abs_path": str(file),
        "resource": resource,
    }


def report(*, passed=(), failed=(), skipped=()):
    checks = {"passed_checks": passed, "failed_checks": failed, "skipped_checks": skipped}
    return {"results": {kind: list(found) for kind, found in checks.items()}}


BOTH_PASS = [looked_at(APP), looked_at(DATA)]


def test_loops_are_written_out_because_checkov_does_not_look_into_them():
    expanded = without_loops(LOOP)

    assert expanded["Resources"] == {
        f"{queue}Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": queue}}
        for queue in ("Orders", "Priority")
    }
    assert expanded["Transform"] == ["AWS::Serverless-2016-10-31"]


@pytest.mark.parametrize("transform", [{}, {"Transform": "AWS::Serverless-2016-10-31"}], ids=["none", "another"])
def test_a_template_without_loops_is_left_alone(transform):
    template = {**transform, "Resources": {}}

    assert without_loops(template) == template


def test_nothing_found_in_both_templates_is_fine():
    verdict = read_checkov(report(passed=BOTH_PASS), "", TEMPLATES)

    assert (verdict.problems, verdict.let_pass) == ((), 0)


def test_a_finding_is_told_once_with_all_it_concerns():
    refused = [looked_at(APP, "AWS::SQS::Queue.Orders"), looked_at(APP, "AWS::SQS::Queue.Replays")]
    verdict = read_checkov(report(passed=[looked_at(DATA)], failed=refused), "", TEMPLATES)

    assert verdict.problems == (f"{APP}: CKV_AWS_27: Ensure it is encrypted: Orders, Replays",)


def test_a_finding_is_let_pass_for_a_reason():
    verdict = read_checkov(report(passed=BOTH_PASS, skipped=[looked_at(APP, comment="for this reason")]), "", TEMPLATES)

    assert (verdict.problems, verdict.let_pass) == ((), 1)


@pytest.mark.parametrize("comment", [None, "", "No comment provided"], ids=["none", "empty", "checkovs-own"])
def test_a_finding_is_not_let_pass_without_a_word(comment):
    verdict = read_checkov(report(passed=BOTH_PASS, skipped=[looked_at(APP, comment=comment)]), "", TEMPLATES)

    (problem,) = verdict.problems
    assert "CKV_AWS_27: skipped without a comment" in problem


@pytest.mark.parametrize("seen", [report(passed=[looked_at(APP)]), {"passed": 0}], ids=["one-of-two", "nothing"])
def test_a_template_that_checkov_passed_over_is_not_fine(seen):
    assert f"{DATA}: checkov did not look at it" in read_checkov(seen, "", TEMPLATES).problems


def test_what_checkov_grumbles_about_is_a_problem():
    verdict = read_checkov(report(passed=BOTH_PASS), "a warning\n", TEMPLATES)

    assert verdict.problems == ("checkov: a warning",)


def test_a_template_may_not_tell_cfn_lint_to_ignore_anything(tmp_path):
    fine, not_fine = tmp_path / "fine.json", tmp_path / "not-fine.json"
    fine.write_text("{}")
    not_fine.write_text(json.dumps({"Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W3005"]}}}}))

    assert ignored([fine, not_fine]) == [f"{not_fine}: tells cfn-lint to ignore checks"]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a shell script in the place of both linters."""
    monkeypatch.setattr(lint_templates, "TOOLS", tmp_path)

    def put(script):
        for name in ("cfn-lint", "checkov"):
            file = tmp_path / name
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)

    return put


def test_each_line_of_cfn_lint_is_a_finding(tool):
    tool("echo 'data.yaml:1:1:1:1:E3002:wrong'; echo 'data.yaml:2:1:2:1:W2001:unused'; exit 6")

    assert run_cfn_lint(TEMPLATES) == ["data.yaml:1:1:1:1:E3002:wrong", "data.yaml:2:1:2:1:W2001:unused"]


@pytest.mark.parametrize("script", ["exit 1", "echo no such file >&2; exit 0"], ids=["no-finding", "complaint"])
def test_a_cfn_lint_that_fails_is_not_taken_for_one_that_found_nothing(tool, script):
    tool(script)

    with pytest.raises(LintError, match="cfn-lint failed"):
        run_cfn_lint(TEMPLATES)


def test_a_checkov_that_fails_is_not_taken_for_one_that_found_nothing(tool):
    tool("echo Traceback >&2; exit 1")

    with pytest.raises(LintError, match="Traceback"):
        run_checkov(TEMPLATES)


def test_checkov_asks_no_server_and_looks_at_each_template(tool):
    tool('echo "[\\"$*\\"]" | tr -d "[]" >&2; echo "{}"')

    problems = run_checkov(TEMPLATES).problems
    assert f"--skip-download --output json --file {APP} --file {DATA}" in problems[-1]


def test_a_linter_that_is_not_installed_says_how_it_is(tool):
    with pytest.raises(LintError, match="`make lint` installs it"):
        run_cfn_lint(TEMPLATES)


def test_the_engines_template_is_made_without_its_dependencies(tmp_path):
    as_they_are, written_out = lint_templates.prepare(tmp_path)

    template = json.loads(as_they_are[0].read_text())
    runtimes = {
        resource["Properties"]["Runtime"]
        for resource in template["Resources"].values()
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function"
    }
    assert runtimes == {"python3.13"}
    assert "OrdersQueue" in template["Resources"]  # of infra/app.json
    assert not [name for name in json.loads(written_out[0].read_text())["Resources"] if name.startswith("Fn::")]
    assert as_they_are[1] == written_out[1] == lint_templates.PROJECT / "infra" / "data.yaml"
