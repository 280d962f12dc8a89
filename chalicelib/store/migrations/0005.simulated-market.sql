-- Base prices of the simulated venues that were set while they run; what has no row has its price in dollars.
CREATE TABLE simulated_market (
    pair        text PRIMARY KEY,
    base_price  numeric NOT NULL CHECK (base_price > 0),
    walk        numeric NOT NULL DEFAULT 0 CHECK (walk BETWEEN 0 AND 0.5),
    set_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN simulated_market.walk IS 'how far the price wanders to either side of its base, as a fraction';
