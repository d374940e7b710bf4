//! A worker, a relay or a writer with a runtime of its own: it can be stopped, frozen, killed in
//! the middle of whatever it does, and its sessions can be ended, without touching the test's own.

use std::sync::mpsc;
use std::time::Duration;

use outbox::{Outbox, Relay, Worker, WorkerConfig};
use sqlx::PgPool;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::proxy::Proxy;
use crate::scene::{self, Scene, until};

/// Connections of a host; its name is their application name.
const CONNECTIONS: u32 = 4;
/// Threads of a host's runtime.
const THREADS: usize = 2;

pub(crate) struct Host {
    name: String,
    pool: Option<PgPool>,
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    ended: oneshot::Receiver<()>,
    /// What holds its threads while it is frozen: dropped, they go on.
    ice: Vec<mpsc::Sender<()>>,
}

impl Host {
    /// Starts a worker and waits until it has joined.
    pub(crate) async fn worker(scene: &Scene, name: &str, fill: impl FnOnce(&mut Worker)) -> Self {
        let config = WorkerConfig {
            poll: Duration::from_millis(10),
            ..WorkerConfig::default()
        };
        Self::worker_with(scene, name, config, fill).await
    }

    /// The same, on a line that can be frozen.
    pub(crate) async fn behind(
        scene: &Scene,
        proxy: &Proxy,
        name: &str,
        fill: impl FnOnce(&mut Worker),
    ) -> Self {
        Self::behind_with(scene, proxy, (name, config()), fill).await
    }

    /// The same, with a configuration of its own.
    pub(crate) async fn behind_with(
        scene: &Scene,
        proxy: &Proxy,
        (name, config): (&str, WorkerConfig),
        fill: impl FnOnce(&mut Worker),
    ) -> Self {
        Self::start(scene, (name, proxy.url()), config, fill).await
    }

    pub(crate) async fn worker_with(
        scene: &Scene,
        name: &str,
        config: WorkerConfig,
        fill: impl FnOnce(&mut Worker),
    ) -> Self {
        Self::start(scene, (name, scene.url()), config, fill).await
    }

    async fn start(
        scene: &Scene,
        (name, url): (&str, &str),
        config: WorkerConfig,
        fill: impl FnOnce(&mut Worker),
    ) -> Self {
        let runtime = runtime();
        let (url, who) = (url.to_owned(), name.to_owned());
        let pool = runtime.spawn(async move { scene::pool(&url, &who, CONNECTIONS).await });
        let pool = pool.await.unwrap();
        let mut worker = Worker::new(Outbox::new(pool.clone()), config);
        fill(&mut worker);
        let members = "select count(*) from outbox.member where consumer > 0";
        let before = scene.count(members).await;
        let shutdown = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let stop = shutdown.clone();
        runtime.spawn(async move {
            worker.run(stop).await.unwrap();
            end.send(()).unwrap();
        });
        until("the worker has joined", async || {
            scene.count(members).await > before
        })
        .await;
        Self {
            name: name.to_owned(),
            pool: Some(pool),
            runtime: Some(runtime),
            shutdown,
            ended,
            ice: Vec::new(),
        }
    }

    /// Starts a relay and waits until it can be woken.
    pub(crate) async fn relay(scene: &Scene, name: &str) -> Self {
        let relay = Self::doing(scene, name, async |outbox, stop| {
            Relay::new(outbox).run(stop).await.unwrap();
        });
        let relays = "select count(*) from outbox.member where consumer = 0";
        until("the relay has joined", async || {
            scene.count(relays).await > 0
        })
        .await;
        relay
    }

    /// Starts something that ends by itself, or soon after it was asked to.
    pub(crate) fn doing<F, R>(scene: &Scene, name: &str, what: F) -> Self
    where
        F: FnOnce(Outbox, CancellationToken) -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let runtime = runtime();
        let (url, who) = (scene.url().to_owned(), name.to_owned());
        let shutdown = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let stop = shutdown.clone();
        runtime.spawn(async move {
            let outbox = Outbox::new(scene::pool(&url, &who, CONNECTIONS).await);
            what(outbox, stop).await;
            end.send(()).unwrap();
        });
        Self {
            name: name.to_owned(),
            pool: None,
            runtime: Some(runtime),
            shutdown,
            ended,
            ice: Vec::new(),
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.thaw();
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), &mut self.ended).await;
        ended.expect("a stop ends").expect("the host ended well");
    }

    /// Asks it to stop, and goes on.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    /// Ends it in the middle of whatever it does, as `kill -9` would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Halts its threads wherever they are, as a suspended machine's. Its sessions stay open.
    pub(crate) async fn freeze(&mut self) {
        let runtime = self.runtime.as_ref().unwrap();
        for _ in 0..THREADS {
            let (thaw, thawed) = mpsc::channel::<()>();
            let (halt, halted) = oneshot::channel();
            runtime.spawn(async move {
                halt.send(()).unwrap();
                // Nothing is ever sent: this waits for the other end to be dropped.
                assert!(thawed.recv().is_err());
            });
            self.ice.push(thaw);
            halted.await.unwrap();
        }
    }

    /// Lets it go on where it was.
    pub(crate) fn thaw(&mut self) {
        self.ice.clear();
    }

    /// Ends those of its transactions that lie idle, as the server does after some seconds.
    pub(crate) async fn end_idle(&self, scene: &Scene) {
        sqlx::query(
            "select pg_terminate_backend(pid) from shop.session
            where application_name = $1 and state like 'idle in transaction%'",
        )
        .bind(&self.name)
        .execute(&scene.pool)
        .await
        .unwrap();
    }

    /// Ends its sessions, as a restart of the server would.
    pub(crate) async fn end_sessions(&self, scene: &Scene) {
        sqlx::query(
            "select pg_terminate_backend(pid) from shop.session where application_name = $1",
        )
        .bind(&self.name)
        .execute(&scene.pool)
        .await
        .unwrap();
    }

    /// How many of its connections are in use.
    pub(crate) fn busy(&self) -> usize {
        let pool = self.pool.as_ref().unwrap();
        usize::try_from(pool.size()).unwrap() - pool.num_idle()
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // Only now: a frozen one is not to go on before it dies.
        self.thaw();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

fn config() -> WorkerConfig {
    WorkerConfig {
        poll: Duration::from_millis(10),
        ..WorkerConfig::default()
    }
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).enable_all();
    runtime.build().unwrap()
}
