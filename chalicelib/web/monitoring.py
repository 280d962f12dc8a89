"""What is told of the engine as a whole: to Prometheus, and to the console's tiles. Of no single order, and no user."""

from dataclasses import dataclass

from chalicelib.measurements import Measurements
from chalicelib.resources import ResourceUnavailable
from chalicelib.web.answers import Answer, Statistics
from chalicelib.web.identity import ANYBODY, METRICS, Caller
from chalicelib.web.metrics import metrics_text


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """Answers from the snapshot; ``slots`` is how many orders may execute at once."""

    measurements: Measurements
    slots: int

    def metrics(self, caller: Caller, accept: str) -> Answer:
        """``GET /metrics``: everything that is measured, also while a part is down.

        Raises:
            RequestError: 403, the caller may not read metrics; in open mode everybody may.
        """
        if caller is not ANYBODY:
            caller.require_scope(METRICS)
        text, media_type = metrics_text(self.measurements.snapshot(), self.slots, accept)
        return Answer(text, headers={"Content-Type": media_type})

    def statistics(self) -> Statistics:
        """``GET /api/statistics``: how the engine is doing, in seven numbers.

        Raises:
            ResourceUnavailable: Postgres or Redis did not answer, and so not every number is known.
        """
        snapshot = self.measurements.snapshot()
        if snapshot.census is None:
            raise ResourceUnavailable("Postgres", "it did not answer when it was measured")
        if snapshot.counts is None:
            raise ResourceUnavailable("Redis", "it did not answer when it was measured")
        success = snapshot.counts.success_ratio
        return Statistics(
            accepted_per_minute=snapshot.counts.accepted_per_minute,
            processed_per_minute=snapshot.counts.processed_per_minute,
            success_rate=None if success is None else round(success, 4),
            queue_depth=snapshot.census.unclaimed,
            slots_in_use=snapshot.census.claimed,
            slots=self.slots,
            measured_at=snapshot.measured_at,
        )
