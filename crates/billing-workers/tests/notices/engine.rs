//! Notices as a consumer among the others.

use std::time::Duration;

use billing_workers::{MailConfig, WorkersConfig};
use outbox::{Relay, Worker, WorkerConfig};
use testkit::until;
use tokio_util::sync::CancellationToken;

use crate::server::{Mood, Server};
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(60);

async fn ask(world: &World, question: &'static str) -> String {
    let answer: Option<String> = sqlx::query_scalar(question)
        .fetch_one(world.outbox.pool())
        .await
        .unwrap();
    answer.unwrap_or_default()
}

#[tokio::test]
async fn mail_waits_for_its_server_and_no_attempt_is_counted() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::Sender(451, "4.3.0 Out of order")).await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = WorkersConfig {
        documents_dir: root.join("documents"),
        reports_dir: root.join("reports"),
        gateways: billing::gateway::Gateways::default(),
        mail: MailConfig::new(root.join("mail"), Some(&server.url()), None).unwrap(),
        outbox: world.outbox.clone(),
    };
    let mut worker = Worker::new(world.outbox.clone(), WorkerConfig::default());
    let only = ["notices".to_owned()];
    billing_workers::add_all(&mut worker, &config, Some(&only)).unwrap();
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    let relay = tokio::spawn(Relay::new(world.outbox.clone()).run(stop.clone()));
    until("the server to be asked", PATIENCE, async || {
        (server.connections() > 0).then_some(())
    })
    .await
    .unwrap();

    server.mood(Mood::Good);
    until("the mail to be sent", PATIENCE, async || {
        (world.told(account).await == ["invoice sent"]).then_some(())
    })
    .await
    .unwrap();

    stop.cancel();
    relay.await.unwrap().unwrap();
    worker.await.unwrap().unwrap();
    let attempts = "select coalesce(max(attempt), 0)::text from outbox.delivery";
    assert_eq!(ask(&world, attempts).await, "0");
    assert_eq!(server.contents().len(), 1);
}
