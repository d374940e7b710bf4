//! Three ways to find "the committed events that I have not read yet". Two are what most outboxes
//! do; the third is ours.

use sqlx::PgPool;
use uuid::Uuid;

use crate::log;
use crate::scene::{Scene, run, until};
use crate::schedule::{Schedule, inversions};

/// The steps of a run, half of them while an unrelated transaction stays open.
const STEPS: usize = 600;

/// `id > cursor`: a lower id that commits later is never seen.
#[derive(Default)]
struct ById {
    cursor: i64,
    read: Vec<Uuid>,
}

impl ById {
    async fn look(&mut self, pool: &PgPool) {
        let sql = "select id, event_id from outbox.event where id > $1 order by id";
        let new: Vec<(i64, Uuid)> = sqlx::query_as(sql)
            .bind(self.cursor)
            .fetch_all(pool)
            .await
            .unwrap();
        self.cursor = new.last().map_or(self.cursor, |row| row.0);
        self.read.extend(new.into_iter().map(|row| row.1));
    }
}

/// Below the oldest open transaction, by transaction id: waits for strangers, and the order of
/// transaction ids is not the order of locks.
#[derive(Default)]
struct ByWatermark {
    cursor: Option<(String, i64)>,
    read: Vec<Uuid>,
}

impl ByWatermark {
    async fn look(&mut self, pool: &PgPool) {
        let sql = "select xid::text, id, event_id from outbox.event
            where xid < pg_snapshot_xmin(pg_current_snapshot())
                and ($1::text is null or (xid, id) > ($1::xid8, $2))
            order by outbox.event.xid, id";
        let (xid, id) = self.cursor.clone().unzip();
        let new: Vec<(String, i64, Uuid)> = sqlx::query_as(sql)
            .bind(xid)
            .bind(id)
            .fetch_all(pool)
            .await
            .unwrap();
        self.cursor = new
            .last()
            .map(|row| (row.0.clone(), row.1))
            .or(self.cursor.take());
        self.read.extend(new.into_iter().map(|row| row.2));
    }
}

#[derive(Default)]
struct Seen {
    by_id: ById,
    by_watermark: ByWatermark,
    by_ticks: log::Tail,
}

impl Seen {
    async fn look(&mut self, scene: &Scene) {
        self.by_id.look(&scene.pool).await;
        self.by_watermark.look(&scene.pool).await;
        scene.publish().await;
        self.by_ticks.look(&scene.pool, 50).await;
    }
}

#[tokio::test]
async fn only_the_snapshot_diff_neither_loses_nor_inverts_nor_stalls() {
    let scene = Scene::new().await;
    let mut schedule = Schedule::new(&scene, 10, 7).await;
    let mut seen = Seen::default();
    let mut stranger = scene.elsewhere().await;
    run(&mut stranger, "begin; select pg_current_xact_id()").await;

    for step in 0..STEPS {
        schedule.step().await;
        if step % 5 == 0 {
            seen.look(&scene).await;
            assert_eq!(
                seen.by_ticks.read.len(),
                schedule.committed.len(),
                "nobody is waited for"
            );
        }
        if step == STEPS / 2 {
            assert_eq!(
                seen.by_watermark.read.len(),
                0,
                "the watermark waits for a stranger"
            );
            assert!(schedule.committed.len() > 50);
            run(&mut stranger, "commit").await;
        }
    }
    schedule.finish().await;
    let all = schedule.committed.len();
    until("nobody holds the watermark back", async || {
        seen.look(&scene).await;
        seen.by_watermark.read.len() == all
    })
    .await;

    let committed = &schedule.committed;
    let lost = all - seen.by_id.read.len();
    let inverted = inversions(committed, &seen.by_watermark.read);
    println!("of {all} events `id > cursor` lost {lost}, the watermark inverted {inverted}");
    assert!(lost > 0, "a cursor on ids loses what commits late");
    assert!(
        inverted > 0,
        "the order of transaction ids is not the order of locks"
    );
    assert_eq!(
        (
            seen.by_ticks.read.len(),
            inversions(committed, &seen.by_ticks.read)
        ),
        (all, 0)
    );
}
