//! A gateway that runs: who keeps the books of a folder, and who waits for its turn.
//!
//! Each caller has a thread that stands in line for the folder. Whoever holds it serves; the others
//! join at the address that it told. When it stops or is killed, the next in line opens the same
//! books, at the same address if it is still free.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::Client;
use crate::clock::{self, Clock};
use crate::folder::Folder;
use crate::simulator::{GatewaySim, Host, Remains, StartError};

/// How long a neighbour may take from claiming the folder to answering.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
const JOIN_PAUSE: Duration = Duration::from_millis(20);
/// How often those in line look whether it is their turn: a killed gateway is missed so long.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// When the folder is free and yet cannot be opened.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// A gateway that answers. Dropped, it stops, if it runs in this program; a joined one goes on.
#[derive(Debug)]
pub struct Running {
    place: watch::Receiver<Place>,
    clock: Clock,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Where a gateway is at the moment, whoever keeps its books.
#[derive(Debug, Clone)]
pub struct Address(watch::Receiver<Place>);

impl Address {
    /// The address, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.borrow().url.to_string()
    }
}

/// Where the gateway is, and whose it is.
#[derive(Debug, Clone)]
struct Place {
    url: Arc<str>,
    ours: bool,
}

impl Place {
    fn ours(host: &Host) -> Self {
        let url = host.url.as_str().into();
        Self { url, ours: true }
    }

    fn joined(url: &str) -> Self {
        let url = url.into();
        Self { url, ours: false }
    }
}

impl Running {
    /// Where to reach it, such as `http://127.0.0.1:40123`. Ask again after a failure: if another
    /// program has taken its port meanwhile, its successor is elsewhere.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.borrow().url.to_string()
    }

    /// Where to reach it, for those who ask again for each request.
    #[must_use]
    pub fn address(&self) -> Address {
        Address(self.place.clone())
    }

    /// Whether this program keeps the books now.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.place.borrow().ours
    }

    /// Puts its clock forward, if it runs in this program: keys grow old, look-ups see more.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Stops it and waits until its books are closed; or leaves the one that was joined.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(|| join(thread)).await;
            ended.unwrap_or_else(|error| warn!("The gateway's end was not seen: {error}"));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        warn!("The gateway's thread panicked");
    }
}

pub(crate) async fn start(sim: GatewaySim) -> Result<Running, StartError> {
    let folder = Folder::open(&sim.dir)?;
    let running = start_or_join(sim).await?;
    if running.is_ours() {
        return Ok(running);
    }
    Err(StartError::Taken {
        folder: folder.path().to_owned(),
        url: running.url(),
    })
}

pub(crate) async fn start_or_join(sim: GatewaySim) -> Result<Running, StartError> {
    sim.check()?;
    let folder = Folder::open(&sim.dir)?;
    let stop = CancellationToken::new();
    let clock = sim.clock.clone();
    let (opened, opening) = oneshot::channel();
    let line = Line {
        sim,
        folder,
        stop: stop.clone(),
    };
    let thread = thread::Builder::new().name("gateway-sim".to_owned());
    let thread = thread.spawn(move || line.stand(opened));
    let thread = thread.map_err(StartError::Thread)?;
    let place = opening.await.expect("the thread tells before it ends")?;
    Ok(Running {
        place,
        clock,
        stop,
        thread: Some(thread),
    })
}

/// One that stands in line for a folder.
struct Line {
    sim: GatewaySim,
    folder: Folder,
    stop: CancellationToken,
}

type Opened = oneshot::Sender<Result<watch::Receiver<Place>, StartError>>;

impl Line {
    /// The body of the thread.
    fn stand(self, opened: Opened) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                let remains = runtime.block_on(self.wait_and_serve(opened));
                drop(runtime);
                if let Some(remains) = remains {
                    remains.close();
                }
            }
            Err(error) => tell(opened, Err(StartError::Thread(error))),
        }
    }

    async fn wait_and_serve(&self, opened: Opened) -> Option<Remains> {
        let (told, place) = match self.enter().await {
            Ok(Entry::Turn(host)) => {
                let (_, place) = watch::channel(Place::ours(&host));
                tell(opened, Ok(place));
                return Some(host.serve(self.stop.clone()).await);
            }
            Ok(Entry::Joined(url)) => watch::channel(Place::joined(&url)),
            Err(error) => {
                tell(opened, Err(error));
                return None;
            }
        };
        tell(opened, Ok(place));
        let host = self.turn().await?;
        info!(
            "The gateway of {} goes on here, at {}",
            self.folder, host.url
        );
        told.send_replace(Place::ours(&host));
        Some(host.serve(self.stop.clone()).await)
    }

    /// Serves or joins, whichever comes first: the other may be starting, or about to end.
    async fn enter(&self) -> Result<Entry, StartError> {
        let entered = async {
            loop {
                if let Some(claim) = self.folder.claim()? {
                    let host = self.sim.open(&self.folder, claim).await?;
                    return Ok(Entry::Turn(Box::new(host)));
                }
                if let Some(url) = self.answering().await {
                    return Ok(Entry::Joined(url));
                }
                clock::pause(JOIN_PAUSE).await;
            }
        };
        let silent = || StartError::Silent {
            folder: self.folder.path().to_owned(),
        };
        let entered = timeout(JOIN_TIMEOUT, entered).await;
        entered.unwrap_or_else(|_| Err(silent()))
    }

    /// The address of the gateway that keeps these books, if it answers there.
    async fn answering(&self) -> Option<String> {
        let url = self.folder.address()?;
        let health: Uri = format!("{url}/healthz").parse().ok()?;
        let (status, body) = Client::new(HEALTH_TIMEOUT).get(&health).await.ok()?;
        let told: Value = serde_json::from_slice(&body).ok()?;
        let same = told["books"] == self.folder.books_id();
        (status == StatusCode::OK && same).then_some(url)
    }

    /// Waits until the folder is free and opens it; nothing, if told to stop before.
    async fn turn(&self) -> Option<Host> {
        let mut pause = TURN_PAUSE;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = clock::pause(pause) => {}
            }
            match self.try_turn().await {
                Ok(Some(host)) => return Some(host),
                Ok(None) => pause = TURN_PAUSE,
                Err(error) => {
                    warn!("The gateway of {} cannot go on here: {error}", self.folder);
                    pause = TROUBLE_PAUSE;
                }
            }
        }
    }

    async fn try_turn(&self) -> Result<Option<Host>, StartError> {
        match self.folder.claim()? {
            Some(claim) => self.sim.open(&self.folder, claim).await.map(Some),
            None => Ok(None),
        }
    }
}

enum Entry {
    /// It is our turn to keep the books.
    Turn(Box<Host>),
    /// Another keeps them, at this address.
    Joined(String),
}

fn tell(opened: Opened, outcome: Result<watch::Receiver<Place>, StartError>) {
    if opened.send(outcome).is_err() {
        info!("Whoever asked for the gateway left before it was there");
    }
}
