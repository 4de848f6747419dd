-- The whole state of a service. Counters on `batches` change in the same transaction as the rows they count.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One number line for leases and rank 0: a token given later is always greater.
CREATE TABLE fencing (last_token INTEGER NOT NULL) STRICT;
INSERT INTO fencing VALUES (0);

CREATE TABLE batches (
  key                    INTEGER PRIMARY KEY,   -- order of creation
  id                     TEXT NOT NULL UNIQUE,
  status                 TEXT NOT NULL,         -- 'uploading' until the 201, then a BatchStatus
  options                TEXT,
  metadata               TEXT,
  input_bytes            INTEGER NOT NULL DEFAULT 0,
  created_at             INTEGER NOT NULL,
  cancelling_at          INTEGER,
  ended_at               INTEGER,
  total                  INTEGER NOT NULL DEFAULT 0,
  leased                 INTEGER NOT NULL DEFAULT 0,
  succeeded              INTEGER NOT NULL DEFAULT 0,
  failed                 INTEGER NOT NULL DEFAULT 0,
  cancelled              INTEGER NOT NULL DEFAULT 0,
  rag_success            INTEGER NOT NULL DEFAULT 0,
  rag_soft_failure       INTEGER NOT NULL DEFAULT 0,
  rag_hard_failure       INTEGER NOT NULL DEFAULT 0,
  prompt_tokens          INTEGER NOT NULL DEFAULT 0,
  completion_tokens      INTEGER NOT NULL DEFAULT 0,
  cached_tokens          INTEGER NOT NULL DEFAULT 0,
  last_seq               INTEGER NOT NULL DEFAULT 0,
  collection_generations TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX batches_active ON batches (key) WHERE status IN ('in_progress', 'cancelling');

CREATE TABLE chunks (
  batch_key        INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  number           INTEGER NOT NULL,
  first_line       INTEGER NOT NULL,
  span             INTEGER NOT NULL,            -- lines of the upload, blank ones included
  blank_lines      TEXT,                        -- JSON of the numbers of the blank ones
  open_lines       INTEGER NOT NULL,            -- lines of the batch without a record
  input            BLOB NOT NULL,               -- zstd of the lines as uploaded
  problems         TEXT,                        -- JSON of its lines that cannot be run
  lease_token      INTEGER,
  lease_expires_at INTEGER,                     -- milliseconds since the Unix epoch
  PRIMARY KEY (batch_key, number)
) STRICT;
CREATE INDEX chunks_open ON chunks (batch_key, number) WHERE open_lines > 0;
CREATE INDEX chunks_by_line ON chunks (batch_key, first_line, span);

CREATE TABLE records (
  batch_key INTEGER NOT NULL REFERENCES batches (key) ON DELETE CASCADE,
  seq       INTEGER NOT NULL,
  line      INTEGER NOT NULL,
  status    TEXT NOT NULL,
  body      TEXT NOT NULL                       -- the result line as served
) STRICT;
CREATE UNIQUE INDEX records_by_seq ON records (batch_key, seq);
CREATE UNIQUE INDEX records_by_line ON records (batch_key, line);

CREATE TABLE collections (
  generation  INTEGER PRIMARY KEY,
  uuid        TEXT NOT NULL,
  name        TEXT NOT NULL,
  count       INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  ready_at    INTEGER NOT NULL
) STRICT;
