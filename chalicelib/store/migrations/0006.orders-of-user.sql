-- A user's orders, newest first: what they list is theirs only, and must not cost what others have ordered.
CREATE INDEX orders_newest_of_user ON orders (user_id, created_at DESC, id DESC);
