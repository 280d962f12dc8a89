"""moto's AWS for the engine, which asks AWS without boto3: what moto would answer a client of boto3 it answers us."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.models import botocore_stubber

from chalicelib.resources import aws

_over_the_network = aws.exchange


@contextmanager
def moto_cloud() -> Iterator[None]:
    """Let moto be AWS; what is none of AWS's addresses is asked over the network."""
    with mock_aws():
        aws.exchange = _by_moto
        try:
            yield
        finally:
            aws.exchange = _over_the_network


def _by_moto(request: aws.Request, part: str) -> aws.Response:
    headers = HTTPHeaders()
    for name, value in request.headers.items():
        headers[name] = value
    answer = botocore_stubber.process_request(
        AWSPreparedRequest(request.method, request.url, headers, request.body, stream_output=False)
    )
    if answer is None:
        return _over_the_network(request, part)
    status, _, body = answer
    return aws.Response(status, body.encode() if isinstance(body, str) else body)
