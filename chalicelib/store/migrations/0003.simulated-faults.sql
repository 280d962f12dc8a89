-- How often the simulated venues and their chain misbehave, as shares of 1. One row, read about once a second.
CREATE TABLE simulated_faults (
    only_row              boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    quote_fails           double precision NOT NULL DEFAULT 0 CHECK (quote_fails BETWEEN 0 AND 1),
    dropped               double precision NOT NULL DEFAULT 0 CHECK (dropped BETWEEN 0 AND 1),
    lands_failed          double precision NOT NULL DEFAULT 0 CHECK (lands_failed BETWEEN 0 AND 1),
    lands_late            double precision NOT NULL DEFAULT 0 CHECK (lands_late BETWEEN 0 AND 1),
    answer_lost           double precision NOT NULL DEFAULT 0 CHECK (answer_lost BETWEEN 0 AND 1),
    transaction_lifetime  double precision NOT NULL DEFAULT 60 CHECK (transaction_lifetime > 0)
);
COMMENT ON COLUMN simulated_faults.transaction_lifetime IS 'seconds until a signed transaction expires';
INSERT INTO simulated_faults DEFAULT VALUES;
