"""API Gateway's management API: what clients hear on their WebSocket connections."""

from typing import Any

from chalicelib.clock import Clock
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws import as_unavailable, aws_client
from chalicelib.resources.circuit_breaker import CircuitBreaker

PUSH_SECONDS = 1.0


class ManagementApi:
    """API Gateway's ``@connections``: posts to a WebSocket connection, or closes it."""

    def __init__(self, endpoint_url: str, clock: Clock) -> None:
        self._endpoint_url = endpoint_url
        self._circuit_breaker = CircuitBreaker("the management API", clock)

    def open(self) -> Any:
        """Return the client."""
        return aws_client("apigatewaymanagementapi", PUSH_SECONDS, 1, self._endpoint_url)

    def post(self, connection_id: str, data: bytes) -> bool:
        """Send ``data`` to a connection; False when the connection is gone."""
        self._circuit_breaker.check()
        try:
            with as_unavailable("the management API"):
                self.open().post_to_connection(ConnectionId=connection_id, Data=data)
        except self.open().exceptions.GoneException:
            return False
        except ResourceUnavailable:
            self._circuit_breaker.trip()
            raise
        return True

    def close(self, connection_id: str) -> bool:
        """Close a connection; False when it is gone already."""
        try:
            with as_unavailable("the management API"):
                self.open().delete_connection(ConnectionId=connection_id)
        except self.open().exceptions.GoneException:
            return False
        return True
