-- Uploaded files, batches that are made of them, and what the lines of a batch become when its results are read as files.

CREATE TABLE files (
  key        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  status     TEXT NOT NULL,                     -- 'uploading', 'stored', 'discarding', 'deleting', 'deleted'
  filename   TEXT,
  bytes      INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER                            -- Unix seconds; NULL: never; of a deleted file: when it went
) STRICT;
CREATE INDEX files_removing ON files (key) WHERE status IN ('discarding', 'deleting');
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL AND status = 'stored';

CREATE TABLE file_pieces (
  file_key INTEGER NOT NULL REFERENCES files (key) ON DELETE CASCADE,
  number   INTEGER NOT NULL,
  content  BLOB NOT NULL,                       -- zstd
  PRIMARY KEY (file_key, number)
) STRICT;

ALTER TABLE batches ADD COLUMN endpoint            TEXT NOT NULL DEFAULT '/v1/chat/completions';
ALTER TABLE batches ADD COLUMN input_file_id       TEXT;
ALTER TABLE batches ADD COLUMN errors              TEXT;                       -- JSON, of a batch that has failed
ALTER TABLE batches ADD COLUMN in_progress_at      INTEGER;
ALTER TABLE batches ADD COLUMN reasoning_tokens    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN output_life_seconds INTEGER;                    -- of both result files, from the end on
-- The sum of file_bytes of the current records in that file. NULL: there is no such file, and none can come to be.
ALTER TABLE batches ADD COLUMN output_bytes        INTEGER;
ALTER TABLE batches ADD COLUMN error_bytes         INTEGER;
UPDATE batches SET in_progress_at = created_at;

CREATE INDEX batches_validating ON batches (input_file_id) WHERE status = 'validating';
CREATE INDEX batches_files_expiring ON batches (ended_at) WHERE output_life_seconds IS NOT NULL;
DROP INDEX batches_ended;
CREATE INDEX batches_ended ON batches (ended_at) WHERE status IN ('completed', 'cancelled', 'expired', 'failed');

ALTER TABLE records ADD COLUMN file_bytes      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN response_status INTEGER;
ALTER TABLE records ADD COLUMN response        TEXT;                           -- the model server's answer as JSON
-- With the status: who looks for the few lines that failed passes over the others without reading them.
DROP INDEX records_current;
CREATE INDEX records_current ON records (batch_key, seq, status) WHERE is_current = 1;
