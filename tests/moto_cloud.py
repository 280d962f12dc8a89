"""moto's AWS for the engine, which asks AWS without boto3: what moto would answer a client of boto3 it answers us."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.models import botocore_stubber

from chalicelib.resources import aws


@contextmanager
def moto_cloud() -> Iterator[None]:
    """Let moto be AWS; what is none of AWS's addresses is asked over the network."""
    otherwise = aws.exchange
    with mock_aws():
        aws.exchange = partial(_by_moto, otherwise)
        try:
            yield
        finally:
            aws.exchange = otherwise


def _by_moto(otherwise: Callable[[aws.Request, str], aws.Response], request: aws.Request, part: str) -> aws.Response:
    headers = HTTPHeaders()
    for name, value in request.headers.items():
        headers[name] = value
    answer = botocore_stubber.process_request(
        AWSPreparedRequest(request.method, request.url, headers, request.body, stream_output=False)
    )
    if answer is None:
        return otherwise(request, part)
    status, _, body = answer
    return aws.Response(status, body.encode() if isinstance(body, str) else body)
