//! Wake-up: an empty datagram says "look now", another one "something is planned for soon". A lost
//! one costs one poll, never an event.
//!
//! NOTIFY would serve, but inside a business transaction its lock is cluster-wide and held through
//! the durable wait: commits per second fall to a third.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::watch;

use crate::member;

/// How long known addresses are used before they are read again.
const FRESH: Duration = Duration::from_secs(1);

/// Sends wake-ups to the members of this log.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    /// One for each family of addresses: a socket of one reaches none of the other.
    sockets: [Option<UdpSocket>; 2],
    relays: Mutex<Known>,
    workers: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    read: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Relays,
    Workers,
}

/// Something was committed or published.
const NEWS: &[u8] = &[];
/// Something was planned for soon.
const PLANS: &[u8] = &[1];

impl Waker {
    pub(crate) fn new(pool: PgPool) -> Self {
        let sockets = [
            open((Ipv4Addr::UNSPECIFIED, 0).into()),
            open((Ipv6Addr::UNSPECIFIED, 0).into()),
        ];
        Self(Arc::new(Inner {
            pool,
            sockets,
            relays: Mutex::default(),
            workers: Mutex::default(),
        }))
    }

    /// Events were committed: a relay should cut a tick.
    pub fn wake_relays(&self) {
        self.wake(Who::Relays, NEWS);
    }

    /// An event was planned for soon: a relay should look when.
    pub(crate) fn tell_of_plans(&self) {
        self.wake(Who::Relays, PLANS);
    }

    /// A tick was cut: workers should read it.
    pub(crate) fn wake_workers(&self) {
        self.wake(Who::Workers, NEWS);
    }

    fn wake(&self, who: Who, why: &'static [u8]) {
        let (addresses, stale) = self.known(who);
        self.send(&addresses, why);
        if stale {
            let waker = self.clone();
            tokio::spawn(async move { waker.read_again(who, why).await });
        }
    }

    fn known(&self, who: Who) -> (Vec<SocketAddr>, bool) {
        let mut known = self
            .slot(who)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stale = known.read.is_none_or(|read| read.elapsed() > FRESH);
        if stale {
            // Only one caller at a time reads the table.
            known.read = Some(Instant::now());
        }
        (known.addresses.clone(), stale)
    }

    async fn read_again(&self, who: Who, why: &[u8]) {
        let read = match who {
            Who::Relays => member::addresses_of_relays(&self.0.pool).await,
            Who::Workers => member::addresses_of_workers(&self.0.pool).await,
        };
        let Ok(addresses) = read else { return };
        let mut known = self
            .slot(who)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = addresses
            .iter()
            .filter(|one| !known.addresses.contains(one))
            .copied()
            .collect();
        known.addresses = addresses;
        drop(known);
        self.send(&new, why);
    }

    fn slot(&self, who: Who) -> &Mutex<Known> {
        match who {
            Who::Relays => &self.0.relays,
            Who::Workers => &self.0.workers,
        }
    }

    fn send(&self, addresses: &[SocketAddr], why: &[u8]) {
        let [four, six] = &self.0.sockets;
        for address in addresses {
            let Some(socket) = (if address.is_ipv4() { four } else { six }) else {
                continue;
            };
            if let Err(error) = socket.send_to(why, address) {
                tracing::trace!(%error, %address, "A wake-up was not sent; its receiver polls");
            }
        }
    }
}

/// Without a socket nothing is lost but speed: everyone polls.
fn open(address: SocketAddr) -> Option<UdpSocket> {
    let socket = UdpSocket::bind(address).ok()?;
    if let Err(error) = socket.set_nonblocking(true) {
        tracing::warn!(%error, "Wake-ups may block: the socket stays blocking");
    }
    Some(socket)
}

/// Listens for wake-ups on behalf of all loops of a process.
#[derive(Debug)]
pub(crate) struct Ear {
    address: SocketAddr,
    news: watch::Receiver<u64>,
    plans: watch::Receiver<u64>,
}

impl Ear {
    /// Listens on `host` (loopback unless members run on several hosts) at a free port.
    pub(crate) async fn listen(host: IpAddr) -> std::io::Result<Self> {
        let socket = tokio::net::UdpSocket::bind((host, 0)).await?;
        let address = socket.local_addr()?;
        let (tell, news) = watch::channel(0);
        let (tell_of_plans, plans) = watch::channel(0);
        tokio::spawn(async move {
            let mut why = [0_u8; 1];
            loop {
                tokio::select! {
                    () = tell.closed() => return,
                    received = socket.recv_from(&mut why) => match received {
                        Ok((0, _)) => tell.send_modify(|heard| *heard += 1),
                        Ok(_) => tell_of_plans.send_modify(|heard| *heard += 1),
                        // Linux reports an ICMP answer to an earlier datagram here; go on.
                        Err(error) => tracing::trace!(%error, "The wake-up socket reported"),
                    }
                }
            }
        });
        Ok(Self {
            address,
            news,
            plans,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A listener for one loop.
    pub(crate) fn listener(&self) -> Listener {
        Listener(self.news.clone())
    }

    /// A listener for the loop that fires what is planned.
    pub(crate) fn plans(&self) -> Listener {
        Listener(self.plans.clone())
    }
}

/// One loop's share of the ear.
#[derive(Debug, Clone)]
pub(crate) struct Listener(watch::Receiver<u64>);

impl Listener {
    /// How many wake-ups there were so far.
    pub(crate) fn heard(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits for a wake-up that has not been seen yet.
    pub(crate) async fn woken(&mut self) {
        // The ear outlives the loops.
        drop(self.0.changed().await);
    }

    /// Waits for a wake-up that has not been seen yet, at most `poll`.
    pub(crate) async fn wait(&mut self, poll: Duration) {
        // Both outcomes mean the same: look now.
        drop(tokio::time::timeout(poll, self.0.changed()).await);
    }
}
