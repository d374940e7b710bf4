//! A shop: an order is packed in the database and carried outside of it.

use outbox::{
    Act, ConsumerSpec, Dedupe, Event, External, Failure, Load, NewEvent, Obsolete, Origin, Outbox,
    Transactional, UnitOfWork, Worker, WorkerConfig,
};
use uuid::Uuid;

pub(crate) async fn order(outbox: &Outbox, origin: Origin) {
    let mut tx = outbox.begin(origin).await.unwrap();
    append(&mut tx, outbox::ids::new(), "order.placed");
    tx.commit().await.unwrap();
}

pub(crate) fn worker(outbox: &Outbox) -> Worker {
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    worker.transactional(ConsumerSpec::new("packer", &["order.placed"]), Packer);
    worker.external(ConsumerSpec::new("carrier", &["parcel.packed"]), Carrier);
    worker
}

fn append(tx: &mut UnitOfWork, key: Uuid, topic: &'static str) {
    let locked = tx.locked(key);
    tx.append(locked, NewEvent::new(topic, 1, serde_json::json!({})));
}

struct Packer;

impl Transactional for Packer {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            append(tx, event.key, "parcel.packed");
        }
        Ok(Vec::new())
    }
}

struct Carrier;

impl External for Carrier {
    type Intent = ();
    type Answer = ();
    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn load(&self, _: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Load<()>>, Failure> {
        Ok(events.iter().map(|_| Load::Call(())).collect())
    }

    async fn act(&self, (): &()) -> Act<()> {
        Act::Answer(())
    }

    async fn settle(&self, _: &mut UnitOfWork, _: Vec<((), ())>) -> Result<(), Failure> {
        Ok(())
    }
}
