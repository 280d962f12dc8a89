"""When a failed try is followed by another, and how long that waits."""

from datetime import timedelta


def backoff(attempt: int, base_ms: int) -> timedelta:
    """Return the wait after the failed try number ``attempt`` (from 1): ``base_ms`` × 2^(attempt − 1)."""
    return timedelta(milliseconds=base_ms * 2 ** (attempt - 1))


def next_try(attempt: int, max_retries: int, base_ms: int) -> timedelta | None:
    """Return how long to wait after the failed try number ``attempt``, or None when it was the last one."""
    return None if attempt >= max_retries else backoff(attempt, base_ms)
