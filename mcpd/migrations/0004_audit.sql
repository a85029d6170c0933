-- The audit trail. No statement of this program changes or removes a row of `audit`: a role that may only INSERT and
-- SELECT there is enough for it.

-- One row: the end of the trail. Whoever appends holds it until the end of the transaction, so that the entries of all
-- servers stand in one line.
CREATE TABLE audit_head (
    one  BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    seq  BIGINT NOT NULL,
    hash TEXT   NOT NULL
);
INSERT INTO audit_head (one, seq, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TABLE audit (
    seq          BIGINT NOT NULL PRIMARY KEY,
    at           BIGINT NOT NULL,
    event        TEXT   NOT NULL,
    subject_kind TEXT,
    subject_name TEXT,
    -- The public part of the token.
    token_id     TEXT,
    verb         TEXT,
    object       TEXT,
    llm          TEXT,
    llm_id       TEXT,
    verdict      TEXT,
    binding      TEXT,
    request_id   TEXT,
    -- JSON. Never a prompt, an answer, a token or a key.
    detail       TEXT,
    prev         TEXT   NOT NULL,
    hash         TEXT   NOT NULL
);
-- A page is found by one of these, or by the key, and is in order then.
CREATE INDEX audit_subject ON audit (subject_name, seq);
CREATE INDEX audit_llm ON audit (llm, seq);
CREATE INDEX audit_llm_id ON audit (llm_id, seq);
CREATE INDEX audit_event ON audit (event, seq);
-- Where the entries of a time stand.
CREATE INDEX audit_at ON audit (at, seq);

-- Which reports of failovers are in the trail already, by who sent them.
CREATE TABLE failover_reports (
    subject_kind TEXT   NOT NULL,
    subject_name TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    PRIMARY KEY (subject_kind, subject_name, id)
);
