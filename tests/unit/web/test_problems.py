"""Errors as clients see them."""

import json
from http import HTTPStatus

import pytest

from chalicelib.exact_json import encode_json
from chalicelib.web.problems import RequestError, invalid, shown, unavailable


def test_a_problem_has_a_title_a_status_and_a_detail():
    refused = RequestError(HTTPStatus.NOT_FOUND, "There is no order 7.")

    assert json.loads(encode_json(refused.problem)) == {
        "title": "Not Found",
        "status": 404,
        "detail": "There is no order 7.",
    }


def test_an_invalid_request_names_its_fields_in_the_detail_and_one_by_one():
    problem = invalid({"amount": "is required", "side": "is bad"}).problem

    assert problem.detail == "The request cannot be accepted: see amount, side."
    assert problem.errors == {"amount": "is required", "side": "is bad"}


def test_an_outage_says_when_to_try_again_and_not_what_is_down():
    refused = unavailable()

    assert refused.status == 503
    assert refused.headers == {"Retry-After": "2"}
    assert "ostgres" not in refused.problem.detail


def test_a_time_to_try_again_is_rounded_up_and_said_in_header_and_body():
    refused = RequestError(HTTPStatus.TOO_MANY_REQUESTS, "Too many orders.", retry_after=2.1)

    assert refused.headers == {"Retry-After": "3"}
    assert json.loads(encode_json(refused.problem))["retryAfter"] == 3


@pytest.mark.parametrize("value", ["x" * 10_000, "\0\x1b", [1] * 1000, {"a": "\0"}, 10**1000, "\ud800"])
def test_a_value_is_repeated_short_and_without_control_characters(value):
    text = shown(value)

    assert len(text) <= 61
    assert text.isprintable()
