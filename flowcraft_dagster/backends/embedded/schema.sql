-- One file holds everything. Runs are numbered as they come, so what is written together lies together:
-- a group commit over many runs touches few pages.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What never changes of a run.
CREATE TABLE runs (
    number            INTEGER PRIMARY KEY,
    run_id            TEXT NOT NULL UNIQUE,
    blueprint_id      TEXT NOT NULL,
    blueprint_hash    TEXT NOT NULL,
    input_hash        TEXT NOT NULL,
    started_at        REAL NOT NULL,
    parent_run        TEXT,
    parent_activation TEXT,
    parent_attempt    INTEGER,
    retry_of          TEXT,
    tags              TEXT NOT NULL,
    context           BLOB NOT NULL
);

-- What every commit changes of a run: kept apart and small, so that it costs little to rewrite.
CREATE TABLE heads (
    run         INTEGER PRIMARY KEY,
    status      TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    owner       TEXT,
    updated_at  REAL NOT NULL,
    finished_at REAL,
    reason      TEXT,
    commit_id   TEXT
);

-- Touched when a run begins and when it ends, never in between.
CREATE INDEX heads_live ON heads (run) WHERE finished_at IS NULL;

-- Ended runs in the order of their last commits. AUTOINCREMENT never gives a number twice, so a reader that
-- remembers the last number it saw misses none.
CREATE TABLE finished (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    run          INTEGER NOT NULL UNIQUE,
    blueprint_id TEXT NOT NULL,
    finished_at  REAL NOT NULL
);
CREATE INDEX finished_by_time ON finished (finished_at);
CREATE INDEX finished_by_blueprint ON finished (blueprint_id, finished_at);

CREATE TABLE facts (
    run    INTEGER NOT NULL,
    key    TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    data   BLOB NOT NULL,
    output BLOB,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE signals (
    run  INTEGER NOT NULL,
    key  TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE blueprints (
    content_hash TEXT PRIMARY KEY,
    document     BLOB NOT NULL
);

CREATE TABLE timers (
    due_at REAL NOT NULL,
    run_id TEXT NOT NULL,
    key    TEXT NOT NULL,
    PRIMARY KEY (due_at, run_id, key)
) WITHOUT ROWID;

CREATE TABLE deaths (
    run_id     TEXT NOT NULL,
    activation TEXT NOT NULL,
    deaths     INTEGER NOT NULL,
    PRIMARY KEY (run_id, activation)
) WITHOUT ROWID;

CREATE TABLE workers (
    worker_id  TEXT PRIMARY KEY,
    slot       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    host       TEXT NOT NULL,
    state      TEXT NOT NULL,
    started_at REAL NOT NULL,
    seen_at    REAL NOT NULL,
    health     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX leases_by_time ON leases (expires_at);

-- Two numbers that tell a reader whether to look further: 'offset' is the last message's, 'group' rises with
-- every change of members or holders. A third, 'leased_at', is the time of the last lease, in seconds.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('group', 0), ('offset', 0);

CREATE TABLE messages (
    partition INTEGER NOT NULL,
    "offset"  INTEGER NOT NULL,
    key       TEXT NOT NULL,
    value     BLOB NOT NULL,
    headers   TEXT NOT NULL,
    PRIMARY KEY (partition, "offset")
) WITHOUT ROWID;

CREATE TABLE members (
    member_id TEXT PRIMARY KEY,
    worker_id TEXT NOT NULL,
    slot      TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    holder    TEXT
);

CREATE TABLE letters (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    letter_id TEXT NOT NULL UNIQUE,
    key       BLOB NOT NULL,
    value     BLOB NOT NULL,
    headers   TEXT NOT NULL,
    source    TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        REAL NOT NULL
);

CREATE TABLE requests (
    "offset" INTEGER PRIMARY KEY AUTOINCREMENT,
    value    BLOB NOT NULL,
    at       REAL NOT NULL
);
