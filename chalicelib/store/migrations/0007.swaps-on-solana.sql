-- What swaps on a real chain need: until which block one may land, and how much the wallet may spend.
SET lock_timeout = '5s';
ALTER TABLE swaps ADD COLUMN last_valid_block_height bigint;
COMMENT ON COLUMN swaps.last_valid_block_height IS 'no later block takes it; null on a chain that goes by expires_at';
