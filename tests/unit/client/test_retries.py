"""When a client tries again: the same thing, within its deadline, and with what it was told to wait."""

import json

import httpx
import pytest

from chalicelib.web.signatures import verify
from oee import (
    Conflict,
    Refused,
    Retries,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from oee.retries import Retries as Pauses
from tests.builders import NOON
from tests.unit.client.engines import ACCEPTED, LOST, NEVER_SENT, ORDER, ORDER_ID, TERMS, Engine, answer, problem


@pytest.mark.parametrize("trouble", [LOST, problem(503), problem(502), problem(504), httpx.ReadTimeout("slow")])
def test_an_order_whose_answer_is_lost_is_sent_again_with_the_same_key(caller, trouble):
    engine = Engine(trouble, trouble, answer(ACCEPTED))

    accepted = caller(engine).submit(**TERMS)

    keys = [body["clientOrderId"] for body in engine.bodies]
    assert len(keys) == 3
    assert set(keys) == {accepted.client_order_id}
    assert accepted.order_id == ORDER_ID


def test_two_orders_have_keys_of_their_own_and_one_that_is_given_is_kept(caller):
    engine = Engine(answer(ACCEPTED))
    client = caller(engine)

    client.submit(**TERMS)
    client.submit(**TERMS)
    client.submit(**TERMS, client_order_id="mine")

    first, second, third = (body["clientOrderId"] for body in engine.bodies)
    assert first != second
    assert third == "mine"


def test_what_the_engine_asks_to_wait_is_waited(caller):
    engine = Engine(problem(429, **{"Retry-After": "7"}), problem(503, **{"Retry-After": "2"}), answer(ACCEPTED))
    client = caller(engine, retries=Retries(first=0.5))

    client.submit(**TERMS)

    assert client.slept == [7.5, 2.5]


def test_pauses_grow_and_are_cut_to_a_random_part():
    pauses = Pauses(first=0.25, longest=5)

    assert [pauses.pause(attempt, None, 1.0) for attempt in range(6)] == [0.25, 0.5, 1, 2, 4, 5]
    assert pauses.pause(3, None, 0.5) == 1
    assert pauses.pause(10_000, None, 0.0) == 0


def test_a_client_gives_up_at_its_deadline_and_says_why(caller):
    engine = Engine(LOST)
    client = caller(engine, retries=Retries(deadline=10))

    with pytest.raises(Unreachable, match="the answer was lost"):
        client.quote("SOL", "USDC", 1)

    assert 5 < sum(client.slept) <= 10


def test_a_wait_that_ends_after_the_deadline_is_not_begun(caller):
    client = caller(Engine(problem(429, **{"Retry-After": "60"})), retries=Retries(deadline=30))

    with pytest.raises(TooManyRequests) as refused:
        client.submit(**TERMS)

    assert (client.slept, refused.value.retry_after) == ([], 60)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 500])
def test_what_is_refused_for_good_is_not_asked_again(caller, status):
    engine = Engine(problem(status))

    with pytest.raises(Refused) as refused:
        caller(engine).submit(**TERMS)

    assert (refused.value.status, len(engine.requests), refused.value.client_order_id) == (status, 1, None)


@pytest.mark.parametrize(
    ("answers", "is_uncertain"),
    [
        pytest.param([LOST], True, id="lost"),
        pytest.param([LOST, NEVER_SENT], True, id="lost, then refused connections"),
        pytest.param([problem(503)], True, id="broken off"),
        pytest.param([NEVER_SENT], False, id="never sent"),
        pytest.param([LOST, problem(429)], False, id="a repeated order passes a limit, so this one was not placed"),
    ],
)
def test_an_order_of_which_nobody_knows_whether_it_was_placed_can_be_placed_again(caller, answers, is_uncertain):
    engine = Engine(*answers)

    with pytest.raises((Unreachable, Unavailable, TooManyRequests)) as gave_up:
        caller(engine, retries=Retries(deadline=3)).submit(**TERMS)

    key = engine.bodies[0]["clientOrderId"]
    assert gave_up.value.client_order_id == (key if is_uncertain else None)
    assert (f"Submit it again with the client order id {key}" in str(gave_up.value)) == is_uncertain


def test_an_engine_that_starts_together_with_its_client_is_waited_for(caller):
    client = caller(Engine(NEVER_SENT, NEVER_SENT, answer(ACCEPTED)))

    assert client.submit(**TERMS).order_id == ORDER_ID


def test_a_client_that_does_not_wait_for_the_start_fails_at_once_but_insists_later(caller):
    retries = Retries(wait_for_start=False)
    with pytest.raises(Unreachable):
        caller(nobody := Engine(NEVER_SENT), retries=retries).order(ORDER_ID)
    client = caller(Engine(answer(ORDER), NEVER_SENT, answer(ORDER)), retries=retries)

    assert len(nobody.requests) == 1
    assert client.order(ORDER_ID) == client.order(ORDER_ID)


def test_a_cancellation_whose_answer_is_lost_is_asked_for_again(caller):
    engine = Engine(LOST, answer({**ORDER, "status": "cancelled"}))

    assert caller(engine).cancel(ORDER_ID).status == "cancelled"
    assert engine.calls == [f"DELETE /api/orders/{ORDER_ID}"] * 2


def test_a_cancellation_that_comes_too_late_says_so(caller):
    with pytest.raises(Conflict, match="its swap is on its way"):
        caller(Engine(LOST, problem(409, "its swap is on its way"))).cancel(ORDER_ID)


def test_every_try_to_announce_a_launch_is_a_delivery_of_its_own_and_signed(caller):
    engine = Engine(LOST, answer({"pool": "p", "tokenIn": "WIF", "tokenOut": None, "venue": None, "ordersWoken": 2}))

    taken = caller(engine, token="t").launch(secret="whsec_c2VjcmV0", pool="p", token_in="WIF")

    now = NOON.fromtimestamp(1_800_000_000, NOON.tzinfo)
    ids = {verify("whsec_c2VjcmV0", request.headers, request.content, now) for request in engine.requests}
    assert (len(ids), taken.orders_woken) == (2, 2)
    assert json.loads(engine.requests[0].content) == {"pool": "p", "tokenIn": "WIF"}
    assert "authorization" not in engine.requests[0].headers


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***"])
def test_a_secret_that_can_sign_nothing_is_refused(caller, secret):
    with pytest.raises(ValueError, match="the secret cannot be used"):
        caller(Engine(answer({}))).launch(secret=secret, pool="p", token_in="WIF")


def test_health_is_told_also_when_it_is_bad_and_not_asked_again(caller):
    engine = Engine(answer({"status": "degraded", "parts": {"postgres": "down"}}, 503))

    health = caller(engine).health()

    assert (health.status, health.parts, len(engine.requests)) == ("degraded", {"postgres": "down"}, 1)


# --- Tokens ---


def test_a_token_goes_with_every_request(caller):
    engine = Engine(answer(ORDER))

    caller(engine, token="t0ken").order(ORDER_ID)

    assert engine.requests[0].headers["authorization"] == "Bearer t0ken"


def test_a_refused_token_is_renewed_once(caller):
    tokens = iter(["old", "new", "newest"])
    engine = Engine(problem(401), answer(ORDER))
    client = caller(engine, token=lambda: next(tokens))

    client.order(ORDER_ID)
    client.order(ORDER_ID)

    assert [request.headers["authorization"] for request in engine.requests] == ["Bearer old", *["Bearer new"] * 2]


@pytest.mark.parametrize("token", [None, "t0ken", lambda: "t0ken"])
def test_who_has_no_good_token_is_told_where_to_put_one(caller, token):
    engine = Engine(problem(401, "A token is needed."))

    with pytest.raises(Unauthorized, match="A token is needed") as refused:
        caller(engine, token=token).order(ORDER_ID)

    assert "OEE_TOKEN" in str(refused.value)
    assert "t0ken" not in str(refused.value)
    assert len(engine.requests) == (2 if callable(token) else 1)


def test_no_token_is_shown_by_a_client(caller):
    client = caller(Engine(answer(ORDER)), token="t0ken").client

    assert "t0ken" not in repr(client)


# --- What is not the engine ---


@pytest.mark.parametrize(
    ("body", "status"), [("<html>Welcome</html>", 200), ("", 200), ("[]", 200), ("<h1>No</h1>", 404), ("", 302)]
)
def test_what_is_not_the_engine_is_named_with_what_it_said(caller, body, status):
    with pytest.raises(UnexpectedAnswer, match="engine") as strange:
        caller(Engine(answer(body, status))).order(ORDER_ID)

    assert (body or "it is empty") in str(strange.value)


def test_a_gateways_own_error_is_told(caller):
    with pytest.raises(Refused, match="Missing Authentication Token"):
        caller(Engine(answer({"message": "Missing Authentication Token"}, 403))).order(ORDER_ID)


def test_a_load_balancer_without_an_engine_is_a_part_that_is_down(caller):
    with pytest.raises(Unavailable, match="status 503"):
        caller(Engine(answer("<h1>down</h1>", 503)), retries=Retries(deadline=0)).order(ORDER_ID)


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://host", "http://", "http://user:pass@host", "http://h?x=1"])
def test_an_address_that_is_none_is_refused_at_once(caller, url):
    with pytest.raises(ValueError, match=r"address|is to have no user") as wrong:
        caller(Engine(answer(ORDER)), url=url)

    assert "pass" not in str(wrong.value).replace("pass ", "")
