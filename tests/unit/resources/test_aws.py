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

from chalicelib.resources import ResourceUnavailable, aws
from chalicelib.resources.aws import AwsRefused, AwsService, Request
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
    monkeypatch.setattr(aws, "LONGEST_PAUSE_SECONDS", 0)
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

        do_POST = do_DELETE = answer  # noqa: N815

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

    ask(service, server)

    headers = {name.lower(): value for name, value in server.seen[0][2].items()}
    assert headers["x-amz-security-token"] == "a token"
    assert "x-amz-security-token" in headers["authorization"]


THROTTLED = json.dumps({"__type": "com.amazonaws.sqs#RequestThrottled"}).encode()


@pytest.mark.parametrize("trouble", [(500, b""), (503, b"busy"), (429, b""), (400, THROTTLED), (None, b"")])
def test_a_failure_that_may_pass_is_asked_again(service, server, trouble):
    server.answers = [trouble, (200, b'{"a":1}')]

    assert ask(service, server) == {"a": 1}
    assert len(server.seen) == 2


@pytest.mark.parametrize("trouble", [(500, b"{}"), (400, THROTTLED), (None, b"")])
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


def test_an_operation_that_has_nothing_to_tell_answers_with_an_empty_body(service, server):
    server.answers = [(200, b"")]

    assert ask(service, server) == {}


@pytest.mark.parametrize("content", [b"<html>a proxy", b"[]", b"null"])
def test_an_answer_that_is_no_json_object_is_no_answer(service, server, content):
    server.answers = [(200, content)]

    with pytest.raises(ResourceUnavailable, match="is not a JSON object"):
        ask(service, server)


def test_a_refusal_that_repeats_the_request_is_cut_before_it_tells_what_is_secret(service, server):
    told = "The request signature we calculated does not match " + " " * 160 + "x-amz-security-token:a token"
    server.answers = [(403, json.dumps({"__type": "x#InvalidSignatureException", "message": told}).encode())]

    with pytest.raises(AwsRefused, match="InvalidSignatureException") as refused:
        ask(service, server)
    assert "a token" not in str(refused.value)


def test_a_request_does_not_show_what_it_is_signed_with():
    assert "a token" not in repr(Request("POST", "/", {"x-amz-security-token": "a token"}, b"a secret", 1.0))


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_path_is_sent_as_it_is_and_a_body_only_where_there_is_one(service, server, method):
    body = b"{}" if method == "POST" else b""

    service.send(method, f"{server.url}/prod/@connections/{quote('a/b=', safe='')}", body)

    ((sent_as, path, _, sent, _),) = server.seen
    assert (sent_as, path, sent) == (method, "/prod/@connections/a%2Fb%3D", body)


def test_a_header_that_cannot_be_sent_is_no_answer_either(service, server, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token\nof two lines")

    with pytest.raises(ResourceUnavailable, match="not available"):
        ask(service, server)


def test_nobody_is_followed_elsewhere(service, server):
    server.answers = [(301, b"")]

    with pytest.raises(AwsRefused, match="HTTP 301"):
        ask(service, server)
    assert len(server.seen) == 1


def test_a_service_that_is_not_there_is_unavailable(service):
    with pytest.raises(ResourceUnavailable, match="Secrets Manager is not available"):
        service.send("POST", "http://127.0.0.1:1/")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_variable_that_is_missing_is_named(service, server, monkeypatch, name):
    monkeypatch.delenv(name)

    with pytest.raises(ResourceUnavailable, match=f"{name} is not set"):
        ask(service, server)


def test_the_region_is_lambdas_where_nobody_names_another(service, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ResourceUnavailable, match="AWS_REGION is not set"):
        service.address()
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert service.address() == "https://secretsmanager.us-west-2.amazonaws.com"


def test_a_service_is_where_the_environment_says_or_else_in_the_region(service, monkeypatch):
    assert service.address() == "https://secretsmanager.eu-west-1.amazonaws.com"
    assert service.address("https://sqs.eu-west-1.amazonaws.com") == "https://sqs.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "cn-north-1")
    assert service.address() == "https://secretsmanager.cn-north-1.amazonaws.com.cn"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    assert service.address("https://sqs.eu-west-1.amazonaws.com") == "http://localhost:4566"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:1")
    assert service.address() == "http://localhost:1"


def test_a_connection_is_kept_for_the_next_request(service, server):
    for _ in range(3):
        ask(service, server)

    assert len({sender for *_, sender in server.seen}) == 1
