"""Tokens: a good one says whose it is; every other is refused, and nothing of it is repeated."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.issuer import COOL_DOWN_SECONDS, Issuer
from chalicelib.web.identity import Caller
from chalicelib.web.tokens import LEEWAY_SECONDS, TokenRefused, TokenVerifier
from tests.clocks import StoppedClock
from tests.issuer import AUDIENCE, LocalIssuer, private_key, public_jwk


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def make_verifier(issuer, clock):
    def make(**changes):
        options = {"issuer": Issuer(issuer.url, clock), "audience": (AUDIENCE,), "algorithms": ("RS256",), **changes}
        return TokenVerifier(**options)

    return make


@pytest.fixture
def verifier(make_verifier):
    return make_verifier()


def refusal(verifier, authorization):
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(authorization)
    return str(refused.value)


def test_a_good_token_says_whose_it_is_what_it_allows_and_until_when(issuer, verifier):
    expires_at = int(time.time()) + 60

    caller = verifier.verify(issuer.bearer("u7", scope="oee:operate other", exp=expires_at))

    assert caller == Caller("u7", frozenset({"oee:operate", "other"}), expires_at)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(issuer, verifier, scheme):
    assert verifier.verify(f"{scheme} {issuer.token()}").user_id == "u1"


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": "a b"}, {"a", "b"}),
        ({"scp": ["a", "b"]}, {"a", "b"}),
        ({"scp": "a b"}, {"a", "b"}),
        ({"permissions": ["a", "b"]}, {"a", "b"}),
        ({"scope": "a", "scp": ["b"], "permissions": ["c"]}, {"a", "b", "c"}),
        ({"scope": 7, "scp": [7, "", "a b"], "permissions": {"a": 1}}, set()),
        ({"scope": "x\toee:operate", "scp": ["x\noee:operate"], "permissions": ["x\u00a0oee:operate"]}, set()),
        ({"cognito:groups": ["a"]}, set()),
    ],
)
def test_scopes_are_read_as_issuers_write_them(issuer, verifier, claims, scopes):
    assert verifier.verify(issuer.bearer(**claims)).scopes == scopes


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE, "another"]},
        {"aud": None, "client_id": AUDIENCE, "token_use": "access"},
        {"aud": AUDIENCE, "client_id": "an application"},
    ],
    ids=["one of several", "as Cognito writes it", "as RFC 9068 writes it"],
)
def test_a_token_may_say_in_several_ways_whom_it_is_meant_for(issuer, verifier, claims):
    assert verifier.verify(issuer.bearer(**claims)).user_id == "u1"


def test_any_of_several_audiences_is_meant(issuer, make_verifier):
    verifier = make_verifier(audience=("the web", "the app"))

    for audience in ("the web", "the app"):
        assert verifier.verify(issuer.bearer(aud=audience)).user_id == "u1"
    assert refusal(verifier, issuer.bearer()) == "it is meant for another audience"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": []},
        {"aud": [[AUDIENCE]]},
        {"aud": None},
        {"aud": None, "client_id": "another"},
        {"aud": None, "client_id": ["x", 7]},
        {"aud": "another", "client_id": AUDIENCE},
    ],
    ids=str,
)
def test_a_token_for_another_audience_is_refused(issuer, verifier, claims):
    assert refusal(verifier, issuer.bearer(**claims)) == "it is meant for another audience"


def test_a_token_that_only_tells_who_somebody_is_is_refused(issuer, verifier):
    assert refusal(verifier, issuer.bearer(token_use="id")) == "it is no access token"


@pytest.mark.parametrize("claim", ["iss", "sub", "exp", "iat"])
def test_a_token_that_lacks_a_claim_is_refused(issuer, verifier, claim):
    assert refusal(verifier, issuer.bearer(**{claim: None})) == f"it lacks the claim {claim}"


@pytest.mark.parametrize("subject", ["", "x" * 256, "u\0", "u\n1"])
def test_a_subject_that_is_no_user_is_refused(issuer, verifier, subject):
    assert refusal(verifier, issuer.bearer(subject)).startswith("its subject is not of 1 to 255")


def seconds_from_now(seconds):
    return int(time.time()) + seconds


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": -LEEWAY_SECONDS - 1}, "it has expired"),
        ({"exp": -3600}, "it has expired"),
        ({"nbf": 60}, "it is not valid yet"),
        ({"iat": 60}, "it is not valid yet"),
    ],
    ids=["just expired", "long expired", "not yet valid", "of the future"],
)
def test_a_token_is_good_in_its_time_only(issuer, verifier, claims, why):
    claims = {name: seconds_from_now(seconds) for name, seconds in claims.items()}

    assert refusal(verifier, issuer.bearer(**claims)) == why


def test_clocks_may_differ_a_little(issuer, verifier):
    assert verifier.verify(issuer.bearer(exp=seconds_from_now(-2))).user_id == "u1"
    assert verifier.verify(issuer.bearer(nbf=seconds_from_now(2), iat=seconds_from_now(2))).user_id == "u1"


def test_a_token_of_another_issuer_is_refused_though_it_is_signed_with_a_known_key(issuer, verifier):
    for other in ("https://somebody.else", issuer.url + "/", issuer.url.upper()):
        assert refusal(verifier, issuer.bearer(iss=other)) == "it is of another issuer"


# --- Forged ---


def unsigned(issuer):
    return jwt.encode(issuer.claims(), None, "none", {"kid": "first"})


def signed_with_the_public_key(issuer):
    """Whoever takes the algorithm from the token checks this one with the public key, as if it were a secret."""
    secret = private_key("first").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = (
        jwt.utils.base64url_encode(json.dumps(part).encode())
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "first"}, issuer.claims())
    )
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return b".".join([head, body, jwt.utils.base64url_encode(signature.sign(head + b"." + body, secret))]).decode()


def with_a_key_of_its_own(issuer):
    return issuer.token(key=private_key("forged"), headers={"jwk": public_jwk("forged"), "jku": "http://127.0.0.1:1"})


FORGERIES = {
    "unsigned": (unsigned, "it is not signed with an algorithm that is allowed"),
    "a public key as a secret": (signed_with_the_public_key, "it is not signed with an algorithm that is allowed"),
    "another key": (lambda issuer: issuer.token(key=private_key("forged")), "its signature does not fit"),
    "a key of its own": (with_a_key_of_its_own, "its signature does not fit"),
    "an unknown key": (
        lambda issuer: issuer.token(key=private_key("forged"), kid="forged"),
        "the issuer has no such key",
    ),
    "no key": (lambda issuer: issuer.token(kid=None), "it does not say which key it is signed with"),
    "another algorithm": (
        lambda issuer: issuer.token(algorithm="RS512"),
        "it is not signed with an algorithm that is allowed",
    ),
    "another kind of key": (
        lambda issuer: issuer.token(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        "it is not signed with an algorithm that is allowed",
    ),
    "a changed body": (
        lambda issuer: ".".join([(parts := issuer.token().split("."))[0], issuer.token("u2").split(".")[1], parts[2]]),
        "its signature does not fit",
    ),
    "no signature": (lambda issuer: issuer.token().rpartition(".")[0] + ".", "its signature does not fit"),
}


@pytest.mark.parametrize("expires_at", [253_402_300_800, int("9" * 4300)], ids=["year 10000", "4300 digits"])
def test_a_token_that_expires_at_no_time_there_is_is_refused(issuer, verifier, expires_at):
    assert refusal(verifier, issuer.bearer(exp=expires_at)) == "it expires after the year 9999"


@pytest.mark.parametrize(("forge", "why"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_refused(issuer, verifier, forge, why):
    assert refusal(verifier, f"Bearer {forge(issuer)}") == why


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_key_serves_the_algorithm_only_that_its_issuer_made_it_for(issuer, make_verifier, algorithm):
    verifier = make_verifier(algorithms=("RS256", "PS256"))
    issuer.keys = [public_jwk("first", alg="PS256")]
    authorization = issuer.bearer(algorithm=algorithm)

    if algorithm == "PS256":
        assert verifier.verify(authorization).user_id == "u1"
    else:
        assert refusal(verifier, authorization) == "the issuer has no such key"


def test_a_key_of_another_kind_than_the_token_says_is_refused(issuer, make_verifier):
    verifier = make_verifier(algorithms=("RS256", "ES256"))
    issuer.keys = [{name: value for name, value in public_jwk("first").items() if name != "alg"}]
    forged = issuer.bearer(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")

    assert refusal(verifier, forged) == "it is malformed, or not signed as it says"
    assert verifier.verify(issuer.bearer()).user_id == "u1"


# --- Malformed ---


def part(text):
    return jwt.utils.base64url_encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic dTpw", "Token abc"],
)
def test_a_header_that_holds_no_token_is_refused(verifier, authorization):
    assert refusal(verifier, authorization) == "the header Authorization does not hold a Bearer token"


@pytest.mark.parametrize(
    "token",
    [
        "abc",
        "a.b.c",
        "...",
        "ä.ö.ü",
        f"{part('{}')}.{part('{}')}.",
        f"{part('[1]')}.{part('{}')}.",
        f"{part('[' * 5000)}.{part('{}')}.",
        f"{part(json.dumps({'alg': 'RS256', 'kid': 7}))}.{part('{}')}.",
        f"{part(json.dumps({'alg': 'RS256', 'kid': 'first', 'crit': ['x']}))}.{part('{}')}.",
        f"{part(json.dumps({'alg': ['RS256'], 'kid': 'first'}))}.{part('{}')}.",
        "x" * 100_000,
    ],
    ids=range(11),
)
def test_what_is_no_token_is_refused(verifier, token):
    assert refusal(verifier, f"Bearer {token}")


def test_nothing_of_a_token_is_repeated(issuer, verifier, caplog):
    secret = "a-secret-in-the-token"
    tokens = [
        issuer.token(kid=secret),
        issuer.token(secret, exp=1),
        issuer.token(secret, iss=secret),
        issuer.token(aud=secret),
        issuer.token(secret * 20),
        f"{secret}.{secret}.{secret}",
        secret,
    ]

    said = [refusal(verifier, f"Bearer {token}") for token in tokens]

    for token in tokens:
        assert not [text for text in (*said, caplog.text) if secret in text or token in text]


# --- Keys ---


def test_the_tokens_of_a_new_key_are_taken_and_the_old_ones_until_it_is_withdrawn(issuer, verifier, clock):
    assert verifier.verify(issuer.bearer()).user_id == "u1"
    issuer.keys.append(public_jwk("second"))
    clock.pass_time(COOL_DOWN_SECONDS)

    for name in ("second", "first"):
        assert verifier.verify(issuer.bearer(key=private_key(name), kid=name)).user_id == "u1"


def test_forged_tokens_do_not_make_the_engine_ask_the_issuer_each_time(issuer, verifier):
    for number in range(20):
        refusal(verifier, issuer.bearer(key=private_key("forged"), kid=f"forged {number}"))

    assert len(issuer.asked) == 2


def test_a_token_with_a_wrong_algorithm_does_not_make_the_engine_ask_the_issuer(issuer, verifier):
    refusal(verifier, f"Bearer {unsigned(issuer)}")

    assert issuer.asked == []


def test_without_its_issuer_a_token_is_neither_taken_nor_refused(issuer, verifier):
    issuer.fails()

    with pytest.raises(ResourceUnavailable):
        verifier.verify(issuer.bearer())


def test_while_the_issuer_is_down_tokens_are_checked_with_the_keys_from_before(issuer, verifier, clock):
    verifier.verify(issuer.bearer())
    issuer.fails()
    clock.pass_time(3600)

    assert verifier.verify(issuer.bearer()).user_id == "u1"
    assert refusal(verifier, issuer.bearer(key=private_key("forged"))) == "its signature does not fit"


def test_a_short_key_is_not_trusted(issuer, verifier):
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    short = generate_private_key(public_exponent=65537, key_size=1024)
    issuer.keys = [{**jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key(), as_dict=True), "kid": "first"}]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token(key=short)

    assert refusal(verifier, f"Bearer {token}").startswith("it is malformed")


def test_each_issuer_has_keys_of_its_own(issuer, verifier):
    with LocalIssuer() as other:
        other.keys = [public_jwk("forged", kid="first")]
        token = other.bearer(key=private_key("forged"))

    assert refusal(verifier, token) == "its signature does not fit"
