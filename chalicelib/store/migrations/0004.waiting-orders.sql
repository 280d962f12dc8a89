-- Orders that wait: for a price, or for a token's launch. Postgres is the book.
ALTER TABLE orders
    ADD COLUMN trigger_price  numeric CHECK (trigger_price > 0),
    ADD COLUMN time_in_force  text NOT NULL DEFAULT 'GTC' CHECK (time_in_force IN ('GTC', 'IOC', 'GTD')),
    ADD COLUMN expires_at     timestamptz,
    ADD COLUMN triggered_at   timestamptz,
    ADD COLUMN waits_for      text CHECK (waits_for IN ('price', 'launch')),
    ADD COLUMN wakes_when     text CHECK (wakes_when IN ('at_or_above', 'at_or_below')),
    ADD COLUMN wake_price     numeric,
    ADD COLUMN look_again_at  timestamptz,
    ADD COLUMN vain_looks     integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT orders_gtd_expires CHECK ((time_in_force = 'GTD') = (expires_at IS NOT NULL)),
    ADD CONSTRAINT orders_only_pending_wait CHECK (waits_for IS NULL OR status = 'pending');
COMMENT ON COLUMN orders.waits_for IS 'what the order rests in the book for; NULL while a worker may have it';
COMMENT ON COLUMN orders.wake_price IS 'the market price, on the side wakes_when names, at which the order is looked at again';
COMMENT ON COLUMN orders.look_again_at IS 'when the order is looked at again whatever the price; set while the market is past its limit';
COMMENT ON COLUMN orders.vain_looks IS 'how often in a row the market was past the limit, but not for the order''s amount';
COMMENT ON COLUMN orders.triggered_at IS 'when the order last left the book because its condition was met';
COMMENT ON COLUMN orders.attempts IS 'tries that have ended, in a confirmation or in an error, since the order last waited';

-- The book: what a price wakes lies side by side, so a look costs what it wakes, not what waits.
CREATE INDEX orders_book ON orders (token_in, token_out, side, wakes_when, wake_price) WHERE waits_for = 'price';
CREATE INDEX orders_to_look_at_again ON orders (look_again_at) WHERE waits_for = 'price' AND look_again_at IS NOT NULL;
CREATE INDEX orders_awaiting_launch ON orders (token_in, token_out) WHERE waits_for = 'launch';
CREATE INDEX orders_expiring ON orders (expires_at)
    WHERE expires_at IS NOT NULL AND status IN ('pending', 'routing', 'building');

-- An order that waits has not stopped: recovery must not even have to read it.
DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (status, updated_at)
    WHERE status IN ('pending', 'routing', 'building', 'submitted') AND waits_for IS NULL;

-- A cancelled or expired order may leave a transaction that was signed and never sent.
ALTER TABLE swaps
    DROP CONSTRAINT swaps_state_check,
    ADD CONSTRAINT swaps_state_check CHECK (state IN ('live', 'landed', 'failed', 'expired', 'unsent'));

-- Pools that went live, as the launch webhook told.
CREATE TABLE launches (
    pool         text PRIMARY KEY,
    token_in     text NOT NULL,
    token_out    text,
    venue        text,
    launched_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN launches.token_out IS 'what the token trades against in this pool; NULL for anything';
CREATE INDEX launches_of_token ON launches (token_in);

-- Deliveries that were taken, so that none is taken twice. Kept a little longer than a signature is good for.
CREATE TABLE launch_deliveries (
    delivery_id  text PRIMARY KEY,
    receipt      uuid NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX launch_deliveries_age ON launch_deliveries (received_at);
