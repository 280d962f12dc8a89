-- What could not be processed, kept until an operator has looked at it.
CREATE TABLE dead_letters (
    message_id   text PRIMARY KEY,
    queue        text NOT NULL CHECK (queue IN ('orders', 'settlements')),
    body         text NOT NULL,
    order_id     uuid,
    reason       text NOT NULL,
    buried_at    timestamptz NOT NULL DEFAULT now(),
    redriven_at  timestamptz
);
CREATE INDEX dead_letters_waiting ON dead_letters (buried_at) WHERE redriven_at IS NULL;

-- How often an order was taken over from a worker that had died with it.
ALTER TABLE orders ADD COLUMN takeovers integer NOT NULL DEFAULT 0;
-- What recovery looks for: leases that ran out, and orders that wait or have been sent.
DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (status, updated_at)
    WHERE status IN ('pending', 'routing', 'building', 'submitted');
