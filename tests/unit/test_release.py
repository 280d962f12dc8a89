"""The engine's part in a deployment, as CloudFormation sees it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chalicelib.release import take_part_in_deployment


@pytest.fixture
def cloudformation():
    """A server that takes the answers a custom resource gives; ``answers`` holds them."""
    answers = []

    class Answers(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers.append({"content type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        server.answers = answers
        yield server
        server.shutdown()
        serving.join()


def request(cloudformation, kind):
    return {
        "RequestType": kind,
        "ResponseURL": f"http://127.0.0.1:{cloudformation.server_port}/signed?with=care",
        "StackId": "arn:stack",
        "RequestId": "r1",
        "LogicalResourceId": "Migrations",
    }


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deployment_migrates_and_cloudformation_is_told(cloudformation, kind):
    take_part_in_deployment(request(cloudformation, kind), lambda: ["0001.orders"])

    assert cloudformation.answers == [
        {
            "content type": "",
            "Status": "SUCCESS",
            "Reason": "applied: 0001.orders",
            "PhysicalResourceId": "migrations",
            "StackId": "arn:stack",
            "RequestId": "r1",
            "LogicalResourceId": "Migrations",
        }
    ]


def test_a_migration_that_fails_fails_the_deployment_with_the_reason(cloudformation):
    def fail():
        raise ValueError('column "price" exists')

    take_part_in_deployment(request(cloudformation, "Update"), fail)

    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == 'The database was not migrated: ValueError: column "price" exists'


def test_a_long_reason_is_cut_to_what_cloudformation_takes(cloudformation):
    def fail():
        raise ValueError("x" * 10_000)

    take_part_in_deployment(request(cloudformation, "Update"), fail)

    (answer,) = cloudformation.answers
    assert len(json.dumps(answer)) < 4_096


def test_removing_the_engine_leaves_the_database_alone(cloudformation):
    migrated = []

    take_part_in_deployment(request(cloudformation, "Delete"), lambda: migrated.append("again") or [])

    assert migrated == []
    assert cloudformation.answers[0]["Status"] == "SUCCESS"


def test_whoever_calls_it_by_hand_is_told_what_was_applied():
    assert take_part_in_deployment({}, lambda: ["0001.orders"]) == {"applied": ["0001.orders"]}


def test_whoever_calls_it_by_hand_sees_the_error():
    def fail():
        raise ValueError("nonsense")

    with pytest.raises(ValueError, match="nonsense"):
        take_part_in_deployment({}, fail)
