-- Orders, their history, and the transactions signed for them.

CREATE TABLE orders (
    id                 uuid PRIMARY KEY,
    user_id            text NOT NULL,
    idempotency_key    text,
    request_digest     text NOT NULL,
    order_type         text NOT NULL CHECK (order_type IN ('market', 'limit', 'stop', 'sniper')),
    side               text NOT NULL CHECK (side IN ('sell', 'buy')),
    token_in           text NOT NULL,
    token_out          text NOT NULL CHECK (token_out <> token_in),
    amount_in          numeric NOT NULL CHECK (amount_in > 0),
    slippage           numeric NOT NULL CHECK (slippage BETWEEN 0 AND 1),
    limit_price        numeric CHECK (limit_price > 0),
    status             text NOT NULL CHECK (status IN (
        'pending', 'routing', 'building', 'submitted', 'confirmed', 'failed', 'cancelled', 'expired')),
    seq                integer NOT NULL DEFAULT 1,
    attempts           integer NOT NULL DEFAULT 0,
    max_retries        integer NOT NULL,
    available_at       timestamptz NOT NULL DEFAULT now(),
    lease_owner        uuid,
    lease_until        timestamptz,
    recovered_at       timestamptz,
    chosen_dex         text,
    route_meta         jsonb,
    min_amount_out     numeric,
    max_amount_out     numeric,
    amount_out         numeric,
    executed_price     numeric,
    tx_hash            text,
    last_error         text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN orders.amount_in IS 'the asked amount of token_in: spent by a sell, acquired by a buy';
COMMENT ON COLUMN orders.amount_out IS 'what the fill moved of token_out: received by a sell, paid by a buy';
COMMENT ON COLUMN orders.seq IS 'seq of the order''s newest event';
COMMENT ON COLUMN orders.attempts IS 'tries that have ended, in a confirmation or in an error';
COMMENT ON COLUMN orders.available_at IS 'no worker claims the order before this; a retry waits here';
COMMENT ON COLUMN orders.recovered_at IS 'when recovery last put the order back on its queue';
COMMENT ON COLUMN orders.lease_owner IS 'the worker that executes the order now, until lease_until';

-- The same key of the same user means the same order.
CREATE UNIQUE INDEX orders_idempotency ON orders (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Lists, newest first, of all and of one status.
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
CREATE INDEX orders_newest_by_status ON orders (status, created_at DESC, id DESC);
-- What may have stopped moving: small, because finished orders are not in it.
CREATE INDEX orders_unfinished ON orders (updated_at)
    WHERE status IN ('pending', 'routing', 'building', 'submitted');

CREATE TABLE order_events (
    order_id    uuid NOT NULL REFERENCES orders,
    seq         integer NOT NULL,
    event       text NOT NULL,
    status      text NOT NULL,
    details     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, seq)
);

-- A swap is recorded here before it is first sent; its bytes may be sent again, never replaced while it is live.
CREATE TABLE swaps (
    tx_hash     text PRIMARY KEY,
    order_id    uuid NOT NULL REFERENCES orders,
    venue       text NOT NULL,
    payload     bytea NOT NULL,
    expires_at  timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'landed', 'failed', 'expired')),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX swaps_one_live_per_order ON swaps (order_id) WHERE state = 'live';
CREATE INDEX swaps_of_order ON swaps (order_id);

-- The simulated chain's ledger. Nothing refers to it: it stands for a system outside the engine.
CREATE TABLE simulated_transactions (
    tx_hash     text PRIMARY KEY,
    lands_at    timestamptz NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('landed', 'failed')),
    amount_out  numeric,
    error       text
);
