//! A link: a proxy between one program and one server, for the trouble between them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::trouble::{Ack, Trouble};

const PIECE: usize = 16 * 1024;

/// Whom a link leads to.
#[derive(Debug, Clone)]
pub enum Far {
    /// The address of a host, with a port.
    Tcp(String),
    /// A socket.
    Unix(PathBuf),
}

/// A proxy, as long as it lives.
#[derive(Debug)]
pub struct Link {
    /// Where to ask.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    far: Mutex<Far>,
    ack: Ack,
    weather: watch::Sender<Weather>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    trouble: Option<Trouble>,
    /// How often all connections were reset.
    resets: u32,
    /// How many acknowledgements were lost.
    lost: u32,
}

/// How a connection ends.
#[derive(Debug)]
enum End {
    Closed,
    Reset,
    Swallowed,
}

impl Link {
    /// One that leads there, where such answers acknowledge.
    ///
    /// # Errors
    /// The operating system's, which gives no port.
    pub fn to(far: Far, ack: Ack) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            far: Mutex::new(far),
            ack,
            weather: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// One to the server of a URL that names a socket.
    ///
    /// # Errors
    /// When it names none; the operating system's.
    pub fn to_postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?;
        let folder = options.get_socket().context("the URL names no socket")?;
        let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        Ok(Self::to(Far::Unix(socket), Ack::Commit)?)
    }

    /// The URL of a database of that server, over this link.
    #[must_use]
    pub fn over(&self, url: &str) -> String {
        let (user, place) = url.rsplit_once('@').unwrap_or(("", url));
        let (_, name) = place.rsplit_once('/').unwrap_or((place, ""));
        format!("{user}@{}/{name}", self.address)
    }

    /// It leads elsewhere now: for connections to come.
    pub fn leads_to(&self, far: Far) {
        *self
            .shared
            .far
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = far;
    }

    /// Begins trouble, instead of what there was.
    pub fn begin(&self, trouble: Trouble) {
        self.shared.weather.send_modify(|weather| {
            weather.trouble = Some(trouble);
            weather.resets += u32::from(trouble == Trouble::Reset);
        });
    }

    /// Ends what trouble there is.
    pub fn heal(&self) {
        self.shared.weather.send_modify(|weather| {
            let over = weather.trouble.take();
            weather.resets += u32::from(over == Some(Trouble::Timeout));
        });
    }

    /// How many acknowledgements were lost.
    pub fn lost(&self) -> u32 {
        self.shared.weather.borrow().lost
    }
}

impl Shared {
    fn far(&self) -> Far {
        let far = self.far.lock();
        far.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Swallows an acknowledgement, unless another connection has lost one already.
    fn loses_ack(&self) -> bool {
        self.weather.send_if_modified(|weather| {
            let loses = weather.trouble == Some(Trouble::LostAck);
            if loses {
                weather.trouble = None;
                weather.lost += 1;
            }
            loses
        })
    }

    /// Returns when there is trouble that ends a connection of so many resets.
    async fn torn(&self, resets: u32) -> End {
        let mut weather = self.weather.subscribe();
        let is_end = |weather: &Weather| {
            weather.resets > resets
                || matches!(weather.trouble, Some(Trouble::Down | Trouble::BlackHole))
        };
        match weather
            .wait_for(is_end)
            .await
            .map(|weather| weather.trouble)
        {
            Ok(Some(Trouble::BlackHole)) => End::Swallowed,
            Ok(_) | Err(_) => End::Reset,
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    // A connection that comes to be in a black hole does so when it is over.
    let passes = |weather: &Weather| !weather.trouble.is_some_and(Trouble::blocks);
    let Ok(calm) = weather.wait_for(passes).await.map(|weather| *weather) else {
        return;
    };
    let carried = match calm.trouble {
        Some(Trouble::Down) => Ok(End::Reset),
        _ => connect_and_carry(&mut client, &shared, calm.resets).await,
    };
    match carried {
        Ok(End::Swallowed) => std::future::pending().await,
        // Without it the other side would hear of an orderly end.
        Ok(End::Reset) => drop(client.set_zero_linger()),
        Ok(End::Closed) | Err(_) => {}
    }
}

async fn connect_and_carry(
    client: &mut TcpStream,
    shared: &Shared,
    resets: u32,
) -> io::Result<End> {
    client.set_nodelay(true)?;
    match shared.far() {
        Far::Tcp(address) => {
            let server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            Ok(both_ways(client, server, shared, resets).await)
        }
        Far::Unix(path) => {
            let server = UnixStream::connect(path).await?;
            Ok(both_ways(client, server, shared, resets).await)
        }
    }
}

async fn both_ways(
    client: &mut TcpStream,
    server: impl AsyncRead + AsyncWrite,
    shared: &Shared,
    resets: u32,
) -> End {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = tokio::io::split(server);
    let ways = async {
        let asked = pump(from_client, to_server, shared, None);
        let answered = pump(from_server, to_client, shared, Some(shared.ack));
        tokio::try_join!(asked, answered)
            .err()
            .unwrap_or(End::Closed)
    };
    tokio::select! {
        end = ways => end,
        end = shared.torn(resets) => end,
    }
}

/// Carries one way, to its end: answers when there is something that acknowledges.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    ack: Option<Ack>,
) -> Result<(), End> {
    let mut weather = shared.weather.subscribe();
    let mut buffer = vec![0; PIECE];
    // What is looked at for an acknowledgement: the end of the last piece is part of it.
    let mut seen = Vec::new();
    let mut answered = 0;
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let passes = |weather: &Weather| !weather.trouble.is_some_and(Trouble::blocks);
        let trouble = weather
            .wait_for(passes)
            .await
            .map_err(|_| End::Closed)?
            .trouble;
        if length == 0 {
            if let Some(Trouble::SlowClose(millis)) = trouble {
                outbox::clock::pause(Duration::from_millis(millis)).await;
            }
            return to.shutdown().await.map_err(|_| End::Closed);
        }
        let piece = &buffer[..length];
        if let Some(ack) = ack {
            seen.drain(..seen.len().saturating_sub(Ack::TAIL));
            seen.extend_from_slice(piece);
            answered += length as u64;
            let is_cut = matches!(trouble, Some(Trouble::Cut(after)) if answered > after);
            if is_cut || (ack.is_in(&seen) && shared.loses_ack()) {
                return Err(End::Reset);
            }
        }
        pass(piece, &mut to, trouble)
            .await
            .map_err(|_| End::Closed)?;
    }
}

async fn pass(
    piece: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    trouble: Option<Trouble>,
) -> io::Result<()> {
    match trouble {
        Some(Trouble::Latency(millis)) => {
            outbox::clock::pause(Duration::from_millis(millis)).await;
        }
        Some(Trouble::Bandwidth(kib)) => {
            let micros = piece.len() as u64 * 1_000_000 / (kib * 1024);
            outbox::clock::pause(Duration::from_micros(micros)).await;
        }
        Some(Trouble::Slices) => {
            for byte in piece {
                to.write_all(std::slice::from_ref(byte)).await?;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        _ => {}
    }
    to.write_all(piece).await
}
