"""When a commit applies: the one condition that embedded and in-memory stores share."""

from __future__ import annotations

from flowcraft_dagster.ports.records import FINAL_STATUSES, Commit, CommitOutcome


def judge_commit(
    commit: Commit, *, status: str, epoch: int, seq: int, last_commit_id: str | None
) -> tuple[CommitOutcome, bool]:
    """Compare a commit with what is stored of its run.

    Args:
        commit: what somebody wants to write.
        status: the stored status.
        epoch: the stored number of owners.
        seq: the stored number of commits.
        last_commit_id: id of the last commit that applied; None before the first.

    Returns:
        The outcome, and whether the commit has still to be written: a commit that was written already
        (its writer did not learn of it and repeats it) is applied without writing.
    """
    if last_commit_id is not None and commit.commit_id == last_commit_id:
        return CommitOutcome.APPLIED, False
    if status in FINAL_STATUSES:
        return CommitOutcome.FINISHED, False
    if epoch != commit.expected_epoch or seq != commit.expected_seq:
        return CommitOutcome.STALE, False
    return CommitOutcome.APPLIED, True
