-- What swaps on a real chain need: until which block one may land, and how much of a token the wallet has spent today.
SET lock_timeout = '5s';
ALTER TABLE swaps ADD COLUMN last_valid_block_height bigint;
COMMENT ON COLUMN swaps.last_valid_block_height IS 'no later block takes it; null on a chain that goes by expires_at';

CREATE TABLE wallet_spending (
    order_id     uuid PRIMARY KEY REFERENCES orders,
    token        text NOT NULL,
    amount       numeric NOT NULL CHECK (amount > 0),
    reserved_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE wallet_spending IS 'what an order may spend at most, reserved before its swap is signed';
-- Nobody writes to a table that is new.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX wallet_spending_newest ON wallet_spending (token, reserved_at);

-- One at a time for a token, each seeing what the one before it has reserved: that takes a lock and, after it, a new
-- look, which a single statement cannot have. An order that has ended without a swap has spent nothing.
CREATE FUNCTION reserve_spending(for_order uuid, of_token text, of_amount numeric, most_in_a_day numeric)
RETURNS TABLE (reserved boolean, spent numeric)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('wallet_spending ' || of_token, 0));
    SELECT coalesce(sum(amount), 0) INTO spent
    FROM wallet_spending JOIN orders ON orders.id = order_id
    WHERE wallet_spending.token = of_token
      AND reserved_at > now() - interval '24 hours'
      AND order_id <> for_order
      AND status NOT IN ('failed', 'cancelled', 'expired');
    reserved := spent + of_amount <= most_in_a_day;
    IF reserved THEN
        INSERT INTO wallet_spending (order_id, token, amount) VALUES (for_order, of_token, of_amount)
        ON CONFLICT (order_id) DO UPDATE
        SET token = EXCLUDED.token, amount = EXCLUDED.amount, reserved_at = now();
    END IF;
    RETURN NEXT;
END
$$;
