"""API Gateway's management API: what clients hear on their WebSocket connections."""

from urllib.parse import quote

from chalicelib.clock import Clock
from chalicelib.resources import ResourceUnavailable
from chalicelib.resources.aws import AwsRefused, AwsService
from chalicelib.resources.circuit_breaker import CircuitBreaker

GONE = 410
"""The status of a connection that is no more."""

_GATEWAY = AwsService(part="the management API", name="execute-api", seconds=1.0, attempts=1)


class ManagementApi:
    """API Gateway's ``@connections``: posts to a WebSocket connection, or closes it."""

    def __init__(self, endpoint_url: str, clock: Clock) -> None:
        self._connections = f"{endpoint_url.rstrip('/')}/@connections/"
        self._circuit_breaker = CircuitBreaker(_GATEWAY.part, clock)

    def post(self, connection_id: str, data: bytes) -> bool:
        """Send ``data`` to a connection; False when the connection is gone."""
        self._circuit_breaker.check()
        try:
            return self._reach("POST", connection_id, data)
        except ResourceUnavailable:
            self._circuit_breaker.trip()
            raise

    def close(self, connection_id: str) -> bool:
        """Close a connection; False when it is gone already."""
        return self._reach("DELETE", connection_id)

    def _reach(self, method: str, connection_id: str, data: bytes = b"") -> bool:
        try:
            _GATEWAY.send(method, self._connections + quote(connection_id, safe=""), data)
        except AwsRefused as refused:
            if refused.status == GONE:
                return False
            raise
        return True
