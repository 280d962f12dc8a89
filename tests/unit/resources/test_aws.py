"""Requests of AWS: signed as botocore would sign them, sent again where that may help, and what errors say."""

import http.server
import json
import threading
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws import AwsRefused, AwsService
from chalicelib.resources.aws_signature import Credentials, signed_headers

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a secret", "AWS_DEFAULT_REGION": "eu-west-1"}
text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001
    credentials=st.builds(Credentials, text, text, st.none() | text),
    connection=st.text(min_size=1, max_size=20),
    target=text,
    host=st.sampled_from(["sqs.eu-west-1.amazonaws.com", "localhost:4566"]),
    body=st.binary(max_size=200),
)
def test_a_request_is_signed_as_botocore_signs_it(moment, credentials, connection, target, host, body):
    path, headers = f"/prod/@connections/{quote(connection, safe='')}", {"x-amz-target": target}
    theirs = AWSRequest("POST", f"https://{host}{path}", data=body, headers=headers)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(auth, "get_current_datetime", lambda: moment)
        SigV4Auth(BotocoreCredentials(*credentials), "execute-api", "eu-west-1").add_auth(theirs)

    ours = signed_headers(
        credentials, "eu-west-1", "execute-api", moment.replace(tzinfo=UTC),
        method="POST", host=host, path=path, headers=headers, body=body,
    )  # fmt: skip

    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == theirs.headers.get("X-Amz-Security-Token")


def test_credentials_do_not_show_what_is_secret():
    assert repr(Credentials("AKID", "a secret", "a token")) == "Credentials(AKID)"


@pytest.fixture
def service(monkeypatch):
    """A service, with the environment that Lambda would give us."""
    for name in ("AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return AwsService(part="Secrets Manager", name="secretsmanager", seconds=0.5, attempts=2)


@pytest.fixture
def server():
    """An AWS that answers with what it is given, the last of it again and again, and notes what it was sent."""

    class Server(http.server.ThreadingHTTPServer):
        @property
        def url(self):
            return f"http://127.0.0.1:{self.server_port}"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.server.seen.append((self.command, self.path, dict(self.headers), body, self.client_address))
            answers = self.server.answers
            status, content = answers.pop(0) if len(answers) > 1 else answers[0]
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 301:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET = answer  # noqa: N815

        def log_message(self, *_):
            """Say nothing."""

    with Server(("127.0.0.1", 0), Handler) as listening:
        listening.seen, listening.answers = [], [(200, b"{}")]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def ask(service, server):
    return service.ask(server.url, "secretsmanager.GetSecretValue", "1.1", {"SecretId": "a"})


def test_an_operation_is_asked_for_in_json(service, server):
    server.answers = [(200, b'{"SecretString":"s"}')]

    assert ask(service, server) == {"SecretString": "s"}

    ((method, path, headers, body, _),) = server.seen
    headers = {name.lower(): value for name, value in headers.items()}
    assert (method, path, json.loads(body)) == ("POST", "/", {"SecretId": "a"})
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert headers["host"] == server.url.removeprefix("http://")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/secretsmanager/aws4_request" in headers["authorization"]


def test_the_keys_of_a_function_come_with_a_token_which_is_signed_as_well(service, server, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    monkeypatch.setenv("AWS_REGION", "us-west-2")

    ask(service, server)

    headers = {name.lower(): value for name, value in server.seen[0][2].items()}
    assert headers["x-amz-security-token"] == "a token"
    assert "x-amz-security-token" in headers["authorization"]
    assert "/us-west-2/" in headers["authorization"]


@pytest.mark.parametrize("trouble", [(500, b""), (503, b"busy"), (429, b""), (None, b"")])
def test_a_failure_that_may_pass_is_asked_again(service, server, trouble):
    server.answers = [trouble, (200, b'{"a":1}')]

    assert ask(service, server) == {"a": 1}
    assert len(server.seen) == 2


@pytest.mark.parametrize("trouble", [(500, b"{}"), (None, b"")])
def test_it_is_asked_as_often_as_the_service_may_be_and_no_more(service, server, trouble):
    server.answers = [trouble]

    with pytest.raises(ResourceUnavailable, match="Secrets Manager is not available"):
        ask(service, server)
    assert len(server.seen) == 2


def test_a_refusal_is_not_asked_again_and_says_why(service, server):
    refusal = {"__type": "com.amazonaws.secretsmanager#AccessDeniedException", "Message": "not authorized"}
    server.answers = [(400, json.dumps(refusal).encode())]

    with pytest.raises(AwsRefused, match=r"AccessDeniedException: not authorized \(HTTP 400\)") as refused:
        ask(service, server)
    assert refused.value.status == 400
    assert len(server.seen) == 1


@pytest.mark.parametrize("content", [b"<html>a proxy", b"[1]", b'"text"', b"\xff\xfe", b""])
def test_a_refusal_in_other_words_is_a_refusal_all_the_same(service, server, content):
    server.answers = [(403, content)]

    with pytest.raises(AwsRefused, match="HTTP 403"):
        ask(service, server)


def test_an_answer_that_is_no_json_is_no_answer(service, server):
    server.answers = [(200, b"<html>a proxy")]

    with pytest.raises(ResourceUnavailable, match="is not JSON"):
        ask(service, server)


def test_nobody_is_followed_elsewhere(service, server):
    server.answers = [(301, b"")]

    with pytest.raises(AwsRefused, match="HTTP 301"):
        ask(service, server)
    assert len(server.seen) == 1


def test_a_service_that_is_not_there_is_unavailable(service):
    with pytest.raises(ResourceUnavailable, match="Secrets Manager is not available"):
        service.send("POST", "http://127.0.0.1:1/")


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_variable_that_is_missing_is_named(service, server, monkeypatch, name):
    monkeypatch.delenv(name)

    with pytest.raises(ResourceUnavailable, match=f"{name} is not set"):
        ask(service, server)


def test_a_service_is_where_the_environment_says_or_else_in_the_region(service, monkeypatch):
    assert service.address() == "https://secretsmanager.eu-west-1.amazonaws.com"
    assert service.address("https://sqs.eu-west-1.amazonaws.com") == "https://sqs.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert service.address() == "https://secretsmanager.cn-north-1.amazonaws.com.cn"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    assert service.address("https://sqs.eu-west-1.amazonaws.com") == "http://localhost:4566"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:1")
    assert service.address() == "http://localhost:1"


def test_a_connection_is_kept_for_the_next_request(service, server):
    for _ in range(3):
        ask(service, server)

    assert len({sender for *_, sender in server.seen}) == 1
