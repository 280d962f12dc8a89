-- transactional: false
-- A user's orders, newest first: what they list is theirs only, and must not cost what others have ordered.
-- Made beside the orders that come in; what an attempt that was cut off left is of no use and goes first.
SET lock_timeout = '5s';
DROP INDEX CONCURRENTLY IF EXISTS orders_newest_of_user;
CREATE INDEX CONCURRENTLY orders_newest_of_user ON orders (user_id, created_at DESC, id DESC);
