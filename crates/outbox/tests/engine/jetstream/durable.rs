//! A tick is not waited for when it is cut. What a stream is told of is on the disk all the same: a
//! crash of the server must not leave the stream ahead of the log.

use testkit::Server;

use super::*;

/// The server's process that writes in the background, stopped.
struct Stopped(String);

impl Stopped {
    async fn walwriter(server: &Server) -> Self {
        let pid = "select pid::text from pg_stat_activity where backend_type = 'walwriter'";
        let mut admin = server.connect().await.unwrap();
        let pid = sqlx::query_scalar(pid).fetch_one(&mut admin).await.unwrap();
        let this = Self(pid);
        this.signal("-STOP");
        this
    }

    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .args([signal, &self.0])
            .status();
        assert!(sent.unwrap().success());
    }
}

/// A server does not stop without it.
impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

async fn is_durable(scene: &Scene, end: &str) -> bool {
    sqlx::query_scalar("select pg_current_wal_flush_lsn() >= $1::text::pg_lsn")
        .bind(end)
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_stream_is_told_of_is_on_the_disk() {
    let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (scene, nats) = (Scene::new_in(&server).await, Nats::start().await);
    let mut publisher = publisher(&scene, &nats).await;
    let _stopped = Stopped::walwriter(&server).await;
    order(&scene, 1).await;
    scene.publish().await;
    let end: String = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert!(!is_durable(&scene, &end).await, "a tick is not waited for");

    assert_eq!(publisher.step().await.unwrap(), 1);

    assert!(
        is_durable(&scene, &end).await,
        "it is published and may be lost"
    );
}
