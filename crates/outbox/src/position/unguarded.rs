//! The mutant [`crate::mutant::Mutant::FenceByKeyAlone`]: a position that is moved on without
//! asking whether the row before is the newest. The key refuses a row that is there, and none that
//! was pruned.

use sqlx::PgConnection;

use super::{Cursor, Fence, Move, Shard};

pub(super) async fn advance(
    tx: &mut PgConnection,
    shard: Shard,
    cursor: Cursor,
    step: Move,
) -> Result<Fence, sqlx::Error> {
    let moved = Cursor {
        n: cursor.n + 1,
        at: step.to,
        passed: cursor.passed + step.passed,
    };
    let written = sqlx::query!(
        "
        -- position: advance without a guard
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select $1, $2, $3, $4, $5, $6, $7, $8
        where exists (select from outbox.tick where n = $6 and at = $9)
        on conflict do nothing
        ",
        shard.consumer,
        shard.generation,
        shard.lane.code(),
        shard.number,
        moved.n,
        moved.at.tick,
        moved.at.id,
        moved.passed,
        step.cut_at,
    )
    .execute(tx)
    .await?;
    Ok(match written.rows_affected() {
        1 => Fence::Held(moved),
        _ => Fence::Lost,
    })
}
