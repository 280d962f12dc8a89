"""Calls that are not part of the API."""

import pytest

from chalicelib.web.unknown_paths import methods_served, wrong_address

ROUTES = {
    "/api/orders": ["POST", "GET"],
    "/api/orders/execute": ["POST"],
    "/api/orders/{order_id}": ["GET", "DELETE"],
    "/api/orders/{order_id}/events": ["GET"],
    "/{anything}/{more}": ["PATCH"],
}


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/api/orders", ["GET", "POST"]),
        ("/api/orders/7", ["DELETE", "GET"]),
        ("/api/orders/7/events", ["GET"]),
        ("/api/orders/7/more", []),
        ("/api/orders/", []),
        ("/api/orders/7/", []),
        ("/api", []),
        ("/", []),
    ],
)
def test_a_path_is_served_for_the_methods_of_its_pattern(path, served):
    assert methods_served(path, ROUTES) == served


def test_a_path_that_is_written_out_goes_before_one_with_a_parameter():
    assert methods_served("/api/orders/execute", ROUTES) == ["POST"]


def test_a_path_that_fits_several_patterns_is_served_for_the_methods_of_each():
    assert methods_served("/orders/7", {"/orders/{order_id}": ["GET"], "/{anything}/7": ["GET", "PUT"]}) == [
        "GET",
        "PUT",
    ]


def test_a_method_that_a_path_has_not_is_refused_with_those_it_has():
    refused = wrong_address("PUT", "/api/orders", ["GET", "POST"])

    assert (refused.status, refused.headers) == (405, {"Allow": "GET, POST"})
    assert refused.problem.detail == "'/api/orders' is served for GET, POST only."


def test_a_path_that_is_served_for_nothing_is_not_found():
    refused = wrong_address("PUT", "/\x1b[31m", [])

    assert (refused.status, refused.headers) == (404, {})
    assert refused.problem.detail == r"There is nothing to PUT at '/\x1b[31m'."
