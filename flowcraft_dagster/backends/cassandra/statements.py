"""Every CQL statement, in one place. Values are always bound, names come from checked settings."""

from __future__ import annotations

from collections.abc import Mapping

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings

HEAD_COLUMNS = (
    "status",
    "epoch",
    "run_seq",
    "owner",
    "commit_id",
    "blueprint_id",
    "blueprint_hash",
    "input_hash",
    "reason",
    "parent",
    "tags",
    "retry_of",
    "started_at",
    "updated_at",
    "finished_at",
    "touched_at",
)
"""The static columns of a run, in the order in which statements read them."""

_LIVE = "status IN ('running', 'awaiting', 'cancelling')"
_HEAD = ", ".join(HEAD_COLUMNS)
_MOVE = "epoch = ?, run_seq = ?, owner = ?, status = ?, commit_id = ?, updated_at = ?, reason = ?, finished_at = ?"


def write_statements(settings: CassandraSettings) -> Mapping[str, str]:
    """CQL by statement name. Parameters are named in the comment above each."""
    names = settings.tables
    ks = settings.keyspace
    contexts, statuses = f"{ks}.{names.contexts}", f"{ks}.{names.statuses}"
    live, finished = f"{ks}.{names.live_runs}", f"{ks}.{names.finished_runs}"
    buckets, timers = f"{ks}.{names.buckets}", f"{ks}.{names.timers}"
    return {
        # run_id, key, data, then the head without commit_id, finished_at and touched_at
        "create_run": (
            f"INSERT INTO {contexts} (run_id, key, data, status, epoch, run_seq, owner, blueprint_id, "
            "blueprint_hash, input_hash, reason, parent, tags, retry_of, started_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
        ),
        # run_id
        "read_head": f"SELECT DISTINCT run_id, {_HEAD} FROM {contexts} WHERE run_id = ?",
        # run_id, limit
        "read_run": f"SELECT key, seq, data, output, {_HEAD} FROM {contexts} WHERE run_id = ? LIMIT ?",
        # run_id, key
        "read_more": f"SELECT key, seq, data, output FROM {contexts} WHERE run_id = ? AND key > ?",
        # run_id, first key, key behind the last
        "read_range": f"SELECT key, data FROM {contexts} WHERE run_id = ? AND key >= ? AND key < ?",
        # epoch afterwards, owner, run_id, epoch before
        "claim_run": f"UPDATE {contexts} SET epoch = ?, owner = ? WHERE run_id = ? IF epoch = ? AND {_LIVE}",
        # head afterwards, seq, data, output, run_id, key, epoch and run_seq before
        "commit_row": (
            f"UPDATE {contexts} SET {_MOVE}, seq = ?, data = ?, output = ? "
            f"WHERE run_id = ? AND key = ? IF epoch = ? AND run_seq = ? AND {_LIVE} AND data = null"
        ),
        # head afterwards, run_id, epoch and run_seq before
        "commit_head": f"UPDATE {contexts} SET {_MOVE} WHERE run_id = ? IF epoch = ? AND run_seq = ? AND {_LIVE}",
        # run_id, key, seq, data, output; only ever beside commit_row
        "insert_row": (f"INSERT INTO {contexts} (run_id, key, seq, data, output) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS"),
        # data, run_id, key
        "add_signal": (
            f"UPDATE {contexts} SET data = ? WHERE run_id = ? AND key = ? IF data = null AND status != null"
        ),
        # run_id, key
        "read_signal": f"SELECT data, status FROM {contexts} WHERE run_id = ? AND key = ?",
        # touched_at, run_id
        "touch_head": f"UPDATE {contexts} SET touched_at = ? WHERE run_id = ?",
        # run_id; the two make one conditional batch
        "forget_head": (
            f"UPDATE {contexts} SET commit_id = null WHERE run_id = ? IF status IN ('completed', 'failed', 'cancelled')"
        ),
        "forget_rows": f"DELETE FROM {contexts} WHERE run_id = ?",
        # run_id, status, blueprint_id, reason, started_at, finished_at, header, listed_at, stamp, ttl
        "write_status": (
            f"INSERT INTO {statuses} (run_id, status, blueprint_id, reason, started_at, finished_at, header, "
            "listed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
        ),
        # ttl, updated_at, run_id
        "touch_status": f"UPDATE {statuses} USING TTL ? SET updated_at = ? WHERE run_id = ?",
        # run_id
        "read_status": f"SELECT header, updated_at, listed_at FROM {statuses} WHERE run_id = ?",
        "drop_status": f"DELETE FROM {statuses} WHERE run_id = ?",
        # bucket, shard, run_id, blueprint_id, child, started_at, done, carried_by
        "list_live": (
            f"INSERT INTO {live} (bucket, shard, run_id, blueprint_id, child, started_at, done, carried_by) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        ),
        # bucket, shard, run_id
        "unlist_live": f"UPDATE {live} SET done = true WHERE bucket = ? AND shard = ? AND run_id = ?",
        # bucket, shard, run_id behind which to begin, limit
        "read_live": (
            f"SELECT run_id, blueprint_id, child, started_at, done, carried_by, WRITETIME(child) FROM {live} "
            "WHERE bucket = ? AND shard = ? AND run_id > ? LIMIT ?"
        ),
        # stamp, bucket, shard
        "drop_live": f"DELETE FROM {live} USING TIMESTAMP ? WHERE bucket = ? AND shard = ?",
        # bucket, shard, listed_at, run_id, header, ttl
        "list_finished": (
            f"INSERT INTO {finished} (bucket, shard, listed_at, run_id, header) VALUES (?, ?, ?, ?, ?) USING TTL ?"
        ),
        # bucket, shard, listed_at, run_id
        "unlist_finished": (f"DELETE FROM {finished} WHERE bucket = ? AND shard = ? AND listed_at = ? AND run_id = ?"),
        # bucket, shard, listed_at, run_id
        "find_finished": (
            f"SELECT run_id FROM {finished} WHERE bucket = ? AND shard = ? AND listed_at = ? AND run_id = ?"
        ),
        # bucket, shard, listed_at and run_id behind which to begin, listed_at before which to end, limit
        "read_finished": (
            f"SELECT listed_at, run_id, header FROM {finished} WHERE bucket = ? AND shard = ? "
            "AND (listed_at, run_id) > (?, ?) AND (listed_at) < (?) LIMIT ?"
        ),
        # bucket, shard, listed_at and run_id before which to begin, limit; newest first
        "read_newest": (
            f"SELECT listed_at, run_id, header FROM {finished} WHERE bucket = ? AND shard = ? "
            "AND (listed_at, run_id) < (?, ?) ORDER BY listed_at DESC, run_id DESC LIMIT ?"
        ),
        # kind, bucket
        "open_bucket": f"INSERT INTO {buckets} (kind, bucket) VALUES (?, ?)",
        # stamp, kind, bucket
        "close_bucket": f"DELETE FROM {buckets} USING TIMESTAMP ? WHERE kind = ? AND bucket = ?",
        # kind, last bucket
        "read_buckets": f"SELECT bucket FROM {buckets} WHERE kind = ? AND bucket <= ?",
        # bucket, due_at, run_id, key, done
        "add_timer": f"INSERT INTO {timers} (bucket, due_at, run_id, key, done) VALUES (?, ?, ?, ?, false)",
        # ttl, bucket, due_at, run_id, key
        "end_timer": (
            f"UPDATE {timers} USING TTL ? SET done = true WHERE bucket = ? AND due_at = ? AND run_id = ? AND key = ?"
        ),
        # bucket, first and last due_at
        "read_timers": (
            f"SELECT due_at, run_id, key, done FROM {timers} WHERE bucket = ? AND due_at >= ? AND due_at <= ?"
        ),
        # stamp, bucket
        "drop_timers": f"DELETE FROM {timers} USING TIMESTAMP ? WHERE bucket = ?",
        # content_hash, document
        "save_blueprint": f"INSERT INTO {ks}.{names.blueprints} (content_hash, document) VALUES (?, ?)",
        # content_hash
        "read_blueprint": f"SELECT document FROM {ks}.{names.blueprints} WHERE content_hash = ?",
        # run_id, activation, at, ttl
        "add_death": f"INSERT INTO {ks}.{names.deaths} (run_id, activation, at) VALUES (?, ?, ?) USING TTL ?",
        # run_id, activation
        "count_deaths": f"SELECT COUNT(*) FROM {ks}.{names.deaths} WHERE run_id = ? AND activation = ?",
        # scope, worker_id, slot, pid, host, state, started_at, seen_at, health, ttl
        "write_worker": (
            f"INSERT INTO {ks}.{names.workers} (scope, worker_id, slot, pid, host, state, started_at, seen_at, health) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?"
        ),
        # scope, worker_id
        "read_worker": (
            "SELECT worker_id, slot, pid, host, state, started_at, seen_at, health "
            f"FROM {ks}.{names.workers} WHERE scope = ? AND worker_id = ?"
        ),
        # scope
        "read_workers": (
            "SELECT worker_id, slot, pid, host, state, started_at, seen_at, health "
            f"FROM {ks}.{names.workers} WHERE scope = ?"
        ),
    }
