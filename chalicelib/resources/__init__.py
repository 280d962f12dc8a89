"""The outside world: Postgres, Redis, SQS and API Gateway's management API, each opened once a process.

A Lambda process lives for hours and is frozen between calls, so a connection may die unseen. Each resource is
opened at first use, kept while it works, and reopened when it turns out broken. The heavy libraries are imported
where they are first needed: a function that never touches one does not pay for it at its cold start.

Answers stay quick while a part is down: each module says how long it is waited for.
"""


class ResourceUnavailable(Exception):
    """A part the engine depends on does not answer; the caller may try again in a moment."""

    def __init__(self, part: str, reason: object) -> None:
        super().__init__(f"{part} is not available: {reason}")
