"""End the orders whose time is up."""

from dataclasses import dataclass

from chalicelib.store.book import Book
from chalicelib.streaming.publisher import Publisher

EXPIRED_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """Expires orders that wait, and those that are executed but not yet submitted."""

    book: Book
    publisher: Publisher

    def expire(self) -> int:
        """End a batch of the orders whose time is up; return how many were due.

        Their viewers are due a look before anything is changed: should this process die in between, nothing else
        would make them hear of the end.

        Raises:
            ResourceUnavailable: Postgres does not answer.
        """
        due = self.book.due(EXPIRED_AT_ONCE)
        if due:
            self.publisher.catch_up_later(*due)
            self.publisher.publish_all(self.book.expire(due))
        return len(due)
