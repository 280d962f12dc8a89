-- A claim changes no column that an index holds: where its page has room for the new version of the row, none of the
-- table's indexes is written. Orders are inserted faster than they are claimed, so half of each page is kept for that.
SET lock_timeout = '5s';
ALTER TABLE orders SET (fillfactor = 50);
