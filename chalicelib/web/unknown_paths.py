"""Which methods a path is served for, and what is answered to a call that is not part of the API."""

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus

from chalicelib.web.problems import RequestError, shown


def methods_served(path: str, routes: Mapping[str, Collection[str]]) -> list[str]:
    """Return the methods that ``path`` is served for.

    ``routes`` holds the methods of each pattern, such as ``/orders/{order_id}``. A path that is written out goes
    before one with a parameter, as in API Gateway.
    """
    if path in routes:
        return sorted(routes[path])
    return sorted({method for pattern, methods in routes.items() if _fits(path, pattern) for method in methods})


def wrong_address(method: str, path: str, served: Collection[str]) -> RequestError:
    """Refuse a call that is not part of the API; ``served`` are the methods that this path has."""
    if served:
        methods = ", ".join(served)
        return RequestError(
            HTTPStatus.METHOD_NOT_ALLOWED, f"{shown(path)} is served for {methods} only.", headers={"Allow": methods}
        )
    return RequestError(HTTPStatus.NOT_FOUND, f"There is nothing to {method} at {shown(path)}.")


def _fits(path: str, pattern: str) -> bool:
    return re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path) is not None
