"""How Redis gets a new token: the data stack's inline function, on moto's secrets and a pretended ElastiCache."""

import datetime
import ipaddress
import json
import socketserver
import ssl
import threading
import time
from types import SimpleNamespace

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws

from tests.cloudformation_yaml import load_template

TEMPLATE = load_template("data.yaml")
CODE = TEMPLATE["Resources"]["RedisRotation"]["Properties"]["Code"]["ZipFile"]
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
GROUP = "redis-group"
FIRST = "first-token-of-redis"
SECRET = "order-execution-engine/prod/redis"


class PretendElastiCache:
    """A replication group: what is called for takes effect when time passes, and it holds two tokens at most.

    Attributes:
        tokens: Those that open it.
        calls: The strategies asked for, in order.
    """

    def __init__(self):
        self.tokens = [FIRST]
        self.calls = []
        self._underway = None

    def modify_replication_group(self, **change):
        assert (change["ReplicationGroupId"], change["ApplyImmediately"]) == (GROUP, True)
        assert self._underway is None, "a group that is being modified refuses"
        token, strategy = change["AuthToken"], change["AuthTokenUpdateStrategy"]
        self.calls.append(strategy)
        if strategy == "ROTATE":
            assert len(self.tokens) < 2, "there is no room for a third token"
            self._underway = [*self.tokens, token]
        else:
            assert strategy == "SET"
            assert token in self.tokens
            assert len(self.tokens) == 2, "SET is allowed only after ROTATE"
            self._underway = [token]

    def get_waiter(self, name):
        assert name == "replication_group_available"
        return SimpleNamespace(wait=self._wait)

    def _wait(self, **request):
        assert request == {"ReplicationGroupId": GROUP}
        self.pass_time(0)

    def pass_time(self, _seconds):
        if self._underway is not None:
            self.tokens, self._underway = self._underway, None


class RedisHandler(socketserver.StreamRequestHandler):
    def handle(self):
        command, token = self.rfile.readline().decode().split()
        assert command == "AUTH"
        self.server.seen.append(token)
        opened = token in self.server.cache.tokens
        self.wfile.write(b"+OK\r\n" if opened else b"-WRONGPASS invalid username-password pair\r\n")


class TlsServer(socketserver.ThreadingTCPServer):
    """Redis' port, with TLS: it answers AUTH."""

    daemon_threads = True

    def __init__(self, cache, certificate):
        self.cache, self.seen = cache, []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        super().__init__(("127.0.0.1", 0), RedisHandler)

    def get_request(self):
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True), address

    def handle_error(self, request, client_address):
        """A client that does not trust the certificate hangs up: no matter for the server."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, which signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Redis")])
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    # What a strict check, the default since Python 3.13, wants of a certificate that is its own authority.
    extensions = [
        (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
    ]
    unsigned = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(hours=1),
    )
    for extension, critical in extensions:
        unsigned = unsigned.add_extension(extension, critical=critical)
    signed = unsigned.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.fixture
def cache():
    return PretendElastiCache()


@pytest.fixture
def redis(cache, certificate):
    with TlsServer(cache, certificate) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Rotation:
    """The function as Secrets Manager calls it.

    Attributes:
        called: The actions, as a policy names them, that it has called.
    """

    def __init__(self, manager, rotate):
        self.manager, self.called = manager, set()
        self._rotate = rotate
        self.secret = manager.create_secret(Name=SECRET, SecretString=json.dumps({"authToken": FIRST}))["ARN"]
        manager.meta.events.register("before-call.secrets-manager", self._note)

    def _note(self, model, **_):
        self.called.add(f"secretsmanager:{model.name}")

    def step(self, step, version):
        self._rotate({"Step": step, "SecretId": self.secret, "ClientRequestToken": version}, None)

    def run(self, version, *, times=1):
        """Take every step, each so many times."""
        for step in STEPS:
            for _ in range(times):
                self.step(step, version)

    def token(self, stage="AWSCURRENT"):
        found = self.manager.get_secret_value(SecretId=self.secret, VersionStage=stage)
        return json.loads(found["SecretString"])["authToken"]


@pytest.fixture
def rotation(cache, redis, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("REDIS_GROUP", GROUP)
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(redis.server_address[1]))
    monkeypatch.setattr(time, "sleep", cache.pass_time)
    with mock_aws():
        manager = boto3.client("secretsmanager")
        clients = {"secretsmanager": manager, "elasticache": cache}
        monkeypatch.setattr(boto3, "client", clients.__getitem__)
        module = {"__name__": "index"}
        exec(compile(CODE, "index.py", "exec"), module)
        yield Rotation(manager, module["rotate"])


NEW, NEWER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


@pytest.mark.parametrize("times", [1, 2], ids=["once", "each-step-twice"])
def test_after_a_rotation_only_the_new_token_opens_redis(rotation, cache, times):
    rotation.run(NEW, times=times)

    assert cache.tokens == [rotation.token()] != [FIRST]
    assert rotation.token("AWSPREVIOUS") == FIRST
    assert cache.calls == ["ROTATE", "SET"]


def test_the_token_that_the_secret_calls_current_opens_redis_at_any_time(rotation, cache, monkeypatch):
    looks = []

    def look():
        looks.append(rotation.token() in cache.tokens)

    def pass_time(seconds):
        look()
        cache.pass_time(seconds)
        look()

    monkeypatch.setattr(time, "sleep", pass_time)
    for step in STEPS:
        rotation.step(step, NEW)
        look()

    assert looks == [True] * 8


def test_the_new_token_is_one_that_elasticache_takes(rotation):
    rotation.step("createSecret", NEW)

    token = rotation.token("AWSPENDING")
    # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html: 16 to 128 characters, few signs.
    assert len(token) == 64
    assert token.isascii()
    assert token.isalnum()


def test_a_token_that_is_made_is_kept_until_it_is_in_use(rotation):
    rotation.step("createSecret", NEW)
    made = rotation.token("AWSPENDING")
    rotation.step("createSecret", NEW)

    assert rotation.token("AWSPENDING") == made
    assert rotation.token() == FIRST


def test_a_new_token_that_redis_refuses_does_not_become_current(rotation):
    rotation.step("createSecret", NEW)

    with pytest.raises(RuntimeError, match="Redis refuses the new token"):
        rotation.step("testSecret", NEW)
    assert rotation.token() == FIRST


def test_a_rotation_that_ended_too_early_leaves_room_for_the_next(rotation, cache, monkeypatch):
    for step in STEPS[:3]:
        rotation.step(step, NEW)
    with monkeypatch.context() as cut_off:
        cut_off.setattr(cache, "get_waiter", None)  # after the label has moved, before the old token is dropped
        with pytest.raises(TypeError):
            rotation.step("finishSecret", NEW)
    assert cache.tokens == [FIRST, rotation.token()]

    rotation.run(NEWER)

    assert cache.tokens == [rotation.token()]
    assert cache.calls == ["ROTATE", "SET", "ROTATE", "SET"]


def test_a_finish_that_was_cut_off_is_made_up_for_by_the_next_try(rotation, cache, monkeypatch):
    for step in STEPS[:3]:
        rotation.step(step, NEW)
    with monkeypatch.context() as cut_off:
        cut_off.setattr(cache, "get_waiter", None)
        with pytest.raises(TypeError):
            rotation.step("finishSecret", NEW)

    rotation.step("finishSecret", NEW)

    assert cache.tokens == [rotation.token()] != [FIRST]


def test_a_token_is_not_shown_to_a_server_that_nobody_vouches_for(rotation, redis, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    rotation.step("createSecret", NEW)

    with pytest.raises(ssl.SSLCertVerificationError):
        rotation.step("testSecret", NEW)
    assert redis.seen == []


def test_it_may_do_what_it_does_and_no_more(rotation):
    rotation.run(NEW)

    (policy, network) = TEMPLATE["Resources"]["RedisRotationRole"]["Properties"]["Policies"]
    secret, key, group, logs = policy["PolicyDocument"]["Statement"]
    assert secret["Resource"] == {"Ref": "RedisSecret"}
    assert set(secret["Action"]) == rotation.called
    assert key["Condition"]["StringEquals"].keys() == {"kms:ViaService"}
    # The waiter describes the group, and what changes it modifies it.
    assert group["Action"] == ["elasticache:DescribeReplicationGroups", "elasticache:ModifyReplicationGroup"]
    assert group["Resource"]["Fn::Sub"].endswith(":replicationgroup:${Redis}")
    assert logs["Resource"] == {"Fn::GetAtt": ["RedisRotationLogGroup", "Arn"]}
    denied = network["PolicyDocument"]["Statement"][-1]
    assert (denied["Effect"], denied["Action"]) == ("Deny", "ec2:*")
    name = TEMPLATE["Resources"]["RedisRotation"]["Properties"]["FunctionName"]["Fn::Sub"]
    assert denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]["Fn::Sub"].endswith(f":function:{name}")


def test_the_function_fits_into_the_template_and_has_time():
    function = TEMPLATE["Resources"]["RedisRotation"]["Properties"]

    assert len(CODE) < 4096  # what CloudFormation took inline when it took least
    assert function["Handler"] == "index.rotate"
    assert (function["Timeout"], function["MemorySize"], function["ReservedConcurrentExecutions"]) == (900, 256, 1)
    assert (function["Architectures"], function["Runtime"]) == (["arm64"], "python3.13")
