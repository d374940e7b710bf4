//! An outbox in another domain: a shop takes orders and packs parcels.
//!
//! The order's row and its event are one transaction; the warehouse is a consumer whose effect, a
//! parcel, happens once. Run it with `cargo run -p outbox --example orders`, against a database of
//! your own: `ORDERS_DATABASE_URL=postgres://…`, or without it against a private server that is
//! gone afterwards.

use outbox::{
    ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Outbox, Relay, Transactional,
    UnitOfWork, Worker, WorkerConfig,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Packs one parcel per order.
struct Warehouse;

impl Transactional for Warehouse {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let orders: Vec<Uuid> = events.iter().map(|event| event.key).collect();
        sqlx::query("insert into shop.parcel (order_id) select unnest($1::uuid[])")
            .bind(orders)
            .execute(&mut **tx)
            .await?;
        Ok(Vec::new())
    }
}

async fn place_order(outbox: &Outbox, item: &str) -> Result<Uuid, AnyError> {
    let order = outbox::ids::new();
    let mut tx = outbox
        .begin(Origin::of("shop").because("the customer clicked"))
        .await?;
    sqlx::query("insert into shop.orders (order_id, item) values ($1, $2)")
        .bind(order)
        .bind(item)
        .execute(&mut *tx)
        .await?;
    let locked = tx.locked(order);
    tx.append(
        locked,
        NewEvent::new("order.placed", 1, serde_json::json!({ "item": item })),
    );
    tx.commit().await?;
    Ok(order)
}

async fn parcels(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from shop.parcel")
        .fetch_one(pool)
        .await
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let configured = std::env::var("ORDERS_DATABASE_URL").ok();
    let folder = tempfile::tempdir()?;
    let local = match &configured {
        Some(_) => None,
        None => Some(local_postgres::LocalPostgres::start(folder.path())?),
    };
    let url = configured
        .or_else(|| local.as_ref().map(|local| local.url()))
        .unwrap_or_default();
    let pool = PgPool::connect(&url).await?;
    outbox::migrate(&pool).await?;
    sqlx::raw_sql(
        "create schema if not exists shop;
         create table if not exists shop.orders (order_id uuid primary key, item text not null);
         create table if not exists shop.parcel
             (order_id uuid primary key references shop.orders);",
    )
    .execute(&pool)
    .await?;

    let outbox = Outbox::new(pool.clone());
    let stop = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(outbox.clone()).run(stop.clone()));
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    worker.transactional(ConsumerSpec::new("warehouse", &["order.placed"]), Warehouse);
    let worker = tokio::spawn(worker.run(stop.clone()));

    let before = parcels(&pool).await?;
    let started = std::time::Instant::now();
    for n in 0..1_000 {
        place_order(&outbox, &format!("book {n}")).await?;
    }
    println!("1000 orders placed in {:.0?}", started.elapsed());
    while parcels(&pool).await? < before + 1_000 {
        tokio::task::yield_now().await;
    }
    println!(
        "1000 parcels packed, each once, after {:.0?}",
        started.elapsed()
    );
    stop.cancel();
    relay.await??;
    worker.await??;
    Ok(())
}
