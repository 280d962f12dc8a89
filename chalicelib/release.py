"""What a deployment asks of the new version before any other function becomes it: to migrate the database.

It runs where the functions run, so nobody needs a way into the VPC. CloudFormation calls it as a custom resource on
which every other function depends: if it fails, or the new version cannot even be imported, the deployment is rolled
back and the old version has served all the time.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import Request, urlopen

from chalicelib.observability import logger, redacted

PHYSICAL_ID = "migrations"
"""Always the same: another one would make CloudFormation delete what the old one stood for."""
ANSWER_SECONDS = 10.0
LONGEST_REASON = 1_000
"""An answer may have 4,096 bytes in all."""


def take_part_in_deployment(event: Mapping[str, Any], migrate: Callable[[], list[str]]) -> dict[str, Any]:
    """Migrate, and tell CloudFormation how it went; returns what was applied, for whoever calls it by hand.

    Raises:
        Exception: what kept the database from being migrated, if nobody is told but the caller.
    """
    told = event.get("ResponseURL")
    try:
        applied = migrate() if event.get("RequestType") != "Delete" else []
    except Exception as error:
        if told is None:
            raise
        logger.exception("the database was not migrated")
        reason = redacted(f"The database was not migrated: {type(error).__name__}: {error}")
        _tell(event, status="FAILED", reason=reason[:LONGEST_REASON])
        return {"applied": [], "error": reason}
    logger.info("the database is up to date", applied=applied)
    if told is not None:
        _tell(event, status="SUCCESS", reason=f"applied: {', '.join(applied) or 'nothing'}"[:LONGEST_REASON])
    return {"applied": applied}


def _tell(event: Mapping[str, Any], *, status: str, reason: str) -> None:
    answer = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": PHYSICAL_ID,
        **{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
    }
    # The URL is signed for a request without a content type.
    request = Request(  # noqa: S310 - CloudFormation's own address, from whoever may call the function at all
        event["ResponseURL"], method="PUT", data=json.dumps(answer).encode(), headers={"Content-Type": ""}
    )
    with urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310 - as above
        pass
