//! What a batch writes beside its members: the same for a million as for ten.

use outbox::batch::State;
use outbox::{Event, Failure, Obsolete, Transactional, UnitOfWork};

use super::{Breeder, open, seal, until_state};
use crate::host::Host;
use crate::scene::{Scene, impatient};

const READERS: [&str; 3] = ["payments", "notices", "reports"];

/// Handles members and leaves no trace.
struct Reader;

impl Transactional for Reader {
    async fn apply(&self, _: &mut UnitOfWork, _: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        Ok(Vec::new())
    }
}

/// Members of the open batch. The first ten are followed by two each.
const MEMBERS: &str = "insert into outbox.event
        (event_id, topic, schema_version, key, part, lane, payload, actor, batch_id)
    select gen_random_uuid(), 'order.placed', 1, gen_random_uuid(), n % 64, 0,
        jsonb_build_object('left', (n <= 10)::int), 'shop', batch_id
    from outbox.batch, generate_series(1, $1::bigint) as n";

/// Rows that there would not be without the batch: the batch, its callbacks and waves; seals and
/// what was announced; a position for each shard that passed a seal.
const ROWS: &str = "select (select count(*) from outbox.batch)
    + (select count(*) from outbox.batch_callback)
    + (select count(*) from outbox.batch_wave)
    + (select count(*) from outbox.delivery)
    + (select count(*) from outbox.event where topic <> 'order.placed')
    + (select count(*) from outbox.position
        join outbox.event using (id) where event.topic = 'outbox.sealed')";

/// Of so many members that four consumers handle, in two waves.
async fn bookkeeping(members: i64) -> i64 {
    let scene = Scene::new().await;
    let _relay = Host::relay(&scene, "relay").await;
    for name in READERS.into_iter().chain(["breeder"]) {
        let spec = impatient(name, 1);
        outbox::register(&scene.pool, &spec).await.unwrap();
    }
    let batch = open(&scene).await;
    let fill = sqlx::query(MEMBERS).bind(members);
    fill.execute(&scene.pool).await.unwrap();
    seal(&scene, batch).await;

    let worker = Host::worker(&scene, "worker", |worker| {
        worker.transactional(impatient("breeder", 1), Breeder);
        for name in READERS {
            worker.transactional(impatient(name, 1), Reader);
        }
    })
    .await;
    until_state(&scene, batch, State::Succeeded).await;

    let waves = "select wave::bigint from outbox.batch";
    assert_eq!(scene.count(waves).await, 2);
    let rows = scene.count(ROWS).await;
    worker.stop().await;
    rows
}

#[tokio::test]
async fn four_consumers_and_two_waves_cost_at_most_a_hundred_rows_however_many_members() {
    let [few, many] = [bookkeeping(10).await, bookkeeping(20_000).await];

    println!("{few} rows of bookkeeping for 10 members, {many} for 20,000");
    assert_eq!(few, many);
    assert!(many <= 100);
}
