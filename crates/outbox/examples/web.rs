//! A web server that only takes orders, and a consumer that packs them.
//!
//! The answer to a request waits for one commit: the order's row and its event. What follows from
//! it happens behind, once, and also if the server dies right after the answer. Run it with `cargo
//! run -p outbox --example web`, against a database of your own:
//! `ORDERS_DATABASE_URL=postgres://…`, or without it against a private server that is gone
//! afterwards.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use outbox::{
    ConsumerSpec, Event, Failure, NewEvent, Obsolete, Origin, Outbox, Relay, Transactional,
    UnitOfWork, Worker, WorkerConfig,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What a client is told when the database refused.
fn refused(error: impl std::error::Error) -> StatusCode {
    eprintln!("not taken: {error}");
    StatusCode::SERVICE_UNAVAILABLE
}

/// A client that hangs up in the middle cancels this; the unit of work is dropped and rolls back.
async fn take_order(
    State(outbox): State<Outbox>,
    Json(order): Json<Value>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let id = outbox::ids::new();
    let mut tx = outbox.begin(Origin::of("web")).await.map_err(refused)?;
    sqlx::query("insert into web.orders (order_id, item) values ($1, $2)")
        .bind(id)
        .bind(order["item"].as_str().ok_or(StatusCode::BAD_REQUEST)?)
        .execute(&mut *tx)
        .await
        .map_err(refused)?;
    let locked = tx.locked(id);
    tx.append(locked, NewEvent::new("order.taken", 1, order));
    tx.commit().await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(json!({ "order": id }))))
}

/// Packs orders; in the transaction of its own position, so each once.
struct Packer;

impl Transactional for Packer {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let orders: Vec<Uuid> = events.iter().map(|event| event.key).collect();
        sqlx::query("update web.orders set packed = true where order_id = any ($1)")
            .bind(orders)
            .execute(&mut **tx)
            .await?;
        Ok(Vec::new())
    }
}

async fn unpacked(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from web.orders where not packed")
        .fetch_one(pool)
        .await
}

/// A client as small as can be: one request, one connection. Answers what was answered.
async fn post_order(address: &str, order: &str) -> Result<String, AnyError> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        order.len()
    );
    stream.write_all((head + order).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let said = [answer.lines().next(), answer.lines().last()];
    Ok(said.map(Option::unwrap_or_default).join(" "))
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
        "create schema if not exists web;
         create table if not exists web.orders
             (order_id uuid primary key, item text not null, packed bool not null default false);",
    )
    .execute(&pool)
    .await?;

    let outbox = Outbox::new(pool.clone());
    let stop = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(outbox.clone()).run(stop.clone()));
    let mut worker = Worker::new(outbox.clone(), WorkerConfig::default());
    worker.transactional(ConsumerSpec::new("packer", &["order.taken"]), Packer);
    let worker = tokio::spawn(worker.run(stop.clone()));
    let routes = Router::new()
        .route("/orders", post(take_order))
        .with_state(outbox);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let server = tokio::spawn(async move { server.await });

    for item in ["book", "lamp"] {
        let order = json!({ "item": item }).to_string();
        println!(
            "POST /orders {order}: {}",
            post_order(&address, &order).await?
        );
    }
    while unpacked(&pool).await? > 0 {
        tokio::task::yield_now().await;
    }
    println!("all are packed, each once");
    stop.cancel();
    server.await??;
    relay.await??;
    worker.await??;
    Ok(())
}
