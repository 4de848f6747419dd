-- Pause, expiry, retries as further runs, start marks, idempotency keys, and a log that knows its byte offsets.

ALTER TABLE batches ADD COLUMN run              INTEGER NOT NULL DEFAULT 1;
ALTER TABLE batches ADD COLUMN expired          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN expires_at       INTEGER;                     -- Unix seconds
ALTER TABLE batches ADD COLUMN finalizing_at    INTEGER;
ALTER TABLE batches ADD COLUMN pause_code       TEXT;
ALTER TABLE batches ADD COLUMN pause_message    TEXT;
ALTER TABLE batches ADD COLUMN pause_at         INTEGER;                     -- pause when ran_lines gets there
ALTER TABLE batches ADD COLUMN ran_lines        INTEGER NOT NULL DEFAULT 0;  -- records of lines that ran, all runs
ALTER TABLE batches ADD COLUMN watched_finished INTEGER NOT NULL DEFAULT 0;  -- what max_failures looks at
ALTER TABLE batches ADD COLUMN watched_failed   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN log_bytes        INTEGER NOT NULL DEFAULT 0;  -- end_offset of the last record

-- Batches of an older release run on as they were meant: without a stop of their own.
UPDATE batches SET options = json_set(options, '$.pauseAfter', NULL, '$.maxFailures', 0, '$.completionWindow', NULL)
WHERE options IS NOT NULL;

DROP INDEX batches_active;
CREATE INDEX batches_active ON batches (key) WHERE status IN ('in_progress', 'cancelling', 'finalizing');
CREATE INDEX batches_expiring ON batches (expires_at) WHERE expires_at IS NOT NULL AND status IN ('in_progress', 'paused');
CREATE INDEX batches_ended ON batches (ended_at) WHERE status IN ('completed', 'cancelled', 'expired');
CREATE INDEX batches_removing ON batches (key) WHERE status IN ('discarding', 'deleting');

-- What changes of a chunk, apart from its input, which does not.
CREATE TABLE chunk_states (
  batch_key        INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  number           INTEGER NOT NULL,
  open_lines       INTEGER NOT NULL,            -- lines of this run without a record
  run_lines        TEXT,                        -- JSON of the lines of this run; NULL: all
  lease_token      INTEGER,
  lease_expires_at INTEGER,                     -- milliseconds of the process's monotonic clock
  PRIMARY KEY (batch_key, number)
) STRICT, WITHOUT ROWID;
INSERT INTO chunk_states SELECT batch_key, number, open_lines, NULL, NULL, NULL FROM chunks;
CREATE INDEX chunk_states_open ON chunk_states (batch_key, number) WHERE open_lines > 0;
CREATE INDEX chunk_states_leased ON chunk_states (lease_token) WHERE lease_token IS NOT NULL;
DROP INDEX chunks_open;
ALTER TABLE chunks DROP COLUMN open_lines;
ALTER TABLE chunks DROP COLUMN lease_token;
ALTER TABLE chunks DROP COLUMN lease_expires_at;

-- Lines whose call may have left: only these have deaths.
CREATE TABLE line_starts (
  batch_key  INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  line       INTEGER NOT NULL,
  is_started INTEGER NOT NULL,
  deaths     INTEGER NOT NULL DEFAULT 0,        -- of the process, while the line was started
  PRIMARY KEY (batch_key, line)
) STRICT, WITHOUT ROWID;

ALTER TABLE records RENAME TO records_1;
CREATE TABLE records (
  batch_key  INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  line       INTEGER NOT NULL,
  run        INTEGER NOT NULL,
  status     TEXT NOT NULL,
  is_current INTEGER NOT NULL,
  rag        TEXT,
  stage      TEXT,
  code       TEXT,
  endpoint   TEXT,
  end_offset INTEGER NOT NULL,                  -- bytes of the log up to here, newlines included
  details    TEXT,                              -- JSON: attempts, hashes of passages and prompt, model
  body       TEXT NOT NULL                      -- the result line as served
) STRICT;
INSERT INTO records
SELECT batch_key, seq, line, 1, status, 1,
  body ->> '$.rag.status', body ->> '$.error.stage', body ->> '$.error.code', body ->> '$.generation.endpoint',
  sum(octet_length(body) + 1) OVER (PARTITION BY batch_key ORDER BY seq), NULL, body
FROM records_1;
DROP TABLE records_1;
CREATE UNIQUE INDEX records_by_seq ON records (batch_key, seq);
CREATE UNIQUE INDEX records_by_line ON records (batch_key, line, run);
CREATE INDEX records_current ON records (batch_key, seq) WHERE is_current = 1;
UPDATE batches SET
  log_bytes = coalesce((SELECT max(end_offset) FROM records WHERE batch_key = key), 0),
  ran_lines = (SELECT count(*) FROM records WHERE batch_key = key AND (status = 'succeeded' OR stage IN ('rag', 'generation')) AND status <> 'cancelled');

-- Each passage text that stood in a prompt of the batch, once.
CREATE TABLE passages (
  batch_key INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  hash      TEXT NOT NULL,
  content   TEXT NOT NULL                       -- JSON of a passage without its distance
) STRICT;
CREATE UNIQUE INDEX passages_by_hash ON passages (batch_key, hash);

CREATE TABLE idempotency_keys (
  key          TEXT PRIMARY KEY,
  batch_id     TEXT NOT NULL,
  request_hash TEXT,                            -- NULL while the upload is under way
  created_at   INTEGER NOT NULL                 -- Unix seconds
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_batch ON idempotency_keys (batch_id);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
