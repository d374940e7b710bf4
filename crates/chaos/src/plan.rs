//! What a seed draws: the faults of a schedule, and after how many events each falls.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use fastrand::Rng;
use gateway_sim::Profile;
use testkit::Trouble;

use crate::failpoints;
use crate::links::{CLIENTS, GATEWAY, NATS, WEBHOOKS};

/// Whom something can happen to.
const WHO: [&str; 7] = [
    "api", "relay 1", "relay 2", "worker 1", "worker 2", "close", "gateway",
];
/// Whose link something can happen to: a program's to the database, and those of HTTP.
const LINKS: [&str; 9] = [
    "api", "relay 1", "relay 2", "worker 1", "worker 2", "close", GATEWAY, WEBHOOKS, CLIENTS,
];
/// At which of its hits a failpoint fires.
const HITS: [u64; 6] = [1, 1, 2, 3, 8, 20];
const FROZEN_MS: Range<u64> = 200..4_000;
/// How long trouble with a link lasts.
const TROUBLE_MS: Range<u64> = 500..6_000;

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of a process.
    Kill(&'static str),
    /// A process is stopped in the middle of whatever it does, for so many milliseconds.
    Freeze(&'static str, u64),
    /// A process is asked to stop.
    Stop(&'static str),
    /// A backend of the server is killed, and the server restarts all of them.
    Backend,
    /// The server is killed.
    Server,
    /// The server ends all sessions.
    Sessions,
    /// The same month is closed once more, beside.
    Twice,
    /// Trouble with a link, for so many milliseconds.
    Network(&'static str, Trouble, u64),
    /// A failpoint: its name, what happens there, at which hit.
    Point(&'static str, &'static str, u64),
}

impl Fault {
    /// Its class, as the results count it.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Freeze(..) => "freeze",
            Self::Stop(_) => "stop",
            Self::Backend => "backend killed",
            Self::Server => "server killed",
            Self::Sessions => "sessions ended",
            Self::Twice => "closed twice",
            Self::Network(_, trouble, _) => trouble.class(),
            Self::Point(_, "kill", _) => "killed at a failpoint",
            Self::Point(_, "error", _) => "error at a failpoint",
            Self::Point(..) => "delay at a failpoint",
        }
    }

    fn drawn(rng: &mut Rng, transport: Transport) -> Self {
        // The NATS server comes after all others, on both lists.
        let more = usize::from(transport == Transport::Nats);
        let who = *WHO.get(rng.usize(..WHO.len() + more)).unwrap_or(&NATS);
        match rng.u32(..15) {
            0..=2 => Self::Kill(who),
            3..=4 => Self::Freeze(who, rng.u64(FROZEN_MS)),
            5 => Self::Stop(who),
            6 => Self::Backend,
            7 => Self::Server,
            8 => Self::Sessions,
            9 => Self::Twice,
            _ => {
                let link = *LINKS.get(rng.usize(..LINKS.len() + more)).unwrap_or(&NATS);
                Self::Network(link, trouble(rng), rng.u64(TROUBLE_MS))
            }
        }
    }

    fn in_wait(rng: &mut Rng, points: &[&'static str]) -> Self {
        let point = points[rng.usize(..points.len())];
        let action = ["kill", "error"][rng.usize(..2)];
        Self::Point(point, action, HITS[rng.usize(..HITS.len())])
    }
}

impl Display for Fault {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) | Self::Stop(who) => write!(out, "{} {who}", self.class()),
            Self::Freeze(who, millis) => write!(out, "freeze {who} for {millis} ms"),
            Self::Network(link, trouble, millis) => {
                write!(out, "{trouble} at {link} for {millis} ms")
            }
            Self::Point(name, action, hit) => write!(out, "{name} {action}@{hit}"),
            _ => out.write_str(self.class()),
        }
    }
}

fn trouble(rng: &mut Rng) -> Trouble {
    match rng.u32(..13) {
        0 => Trouble::Latency(rng.u64(20..400)),
        1 => Trouble::Bandwidth(rng.u64(8..64)),
        2 => Trouble::Slices,
        3 => Trouble::Held,
        4 => Trouble::Timeout,
        5..=6 => Trouble::BlackHole,
        7 => Trouble::Down,
        8 => Trouble::Reset,
        9 => Trouble::SlowClose(rng.u64(100..3_000)),
        10 => Trouble::Cut(rng.u64(100..20_000)),
        _ => Trouble::LostAck,
    }
}

/// What carries the log to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// The database itself.
    Postgres,
    /// A NATS server.
    Nats,
}

/// The faults of a schedule, in their order, each with the number of events after which it falls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) transport: Transport,
    /// What kind of gateway there is.
    pub(crate) profile: &'static str,
    /// Whether operators give their orders, once the month is closed.
    pub(crate) orders: bool,
    /// Whether a fault is tried alone.
    pub(crate) is_single: bool,
    pub(crate) faults: Vec<(i64, Fault)>,
}

impl Plan {
    /// `events`: how many a schedule has, about. Each fourth seed is over NATS unless the transport
    /// is chosen; each fifth has orders.
    pub(crate) fn drawn(seed: u64, events: i64, chosen: Option<Transport>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let transport = chosen.unwrap_or(match seed % 4 {
            0 => Transport::Nats,
            _ => Transport::Postgres,
        });
        let number = rng.usize(3..=6);
        let faults = (0..number).map(|_| (rng.i64(0..events), Fault::drawn(&mut rng, transport)));
        let mut faults: Vec<_> = faults.collect();
        // Whether one in wait is come to, and so often, nobody knows before.
        let waiting = rng.usize(0..=3);
        let orders = seed.is_multiple_of(5);
        let points = failpoints::within(transport == Transport::Nats, orders);
        faults.extend((0..waiting).map(|_| (0, Fault::in_wait(&mut rng, &points))));
        faults.sort_by_key(|(after, _)| *after);
        let profile = match rng.bool() {
            true => Profile::DEFAULT,
            false => Profile::ALL[rng.usize(..Profile::ALL.len())],
        };
        Self {
            seed,
            transport,
            profile: profile.name,
            orders,
            is_single: false,
            faults,
        }
    }

    /// A month without faults.
    pub(crate) fn without_faults() -> Self {
        Self {
            seed: 1,
            transport: Transport::Postgres,
            profile: Profile::DEFAULT.name,
            orders: false,
            is_single: false,
            faults: Vec::new(),
        }
    }

    /// A failpoint alone, and what it takes to come to it.
    pub(crate) fn single(seed: u64, (fault, kind): (Fault, &str)) -> Self {
        Self {
            seed,
            transport: match kind {
                "nats" => Transport::Nats,
                _ => Transport::Postgres,
            },
            orders: kind == "orders",
            is_single: true,
            faults: vec![(0, fault)],
            ..Self::without_faults()
        }
    }

    /// Whether all that lies in wait fires where it is come to for the first time.
    pub(crate) fn is_of_first_hit(&self) -> bool {
        let later = |fault: &Fault| matches!(fault, Fault::Point(_, _, hit) if *hit > 1);
        !self.faults.iter().any(|(_, fault)| later(fault))
    }

    /// The classes of those in wait that fired.
    pub(crate) fn fired(&self, fired: &BTreeSet<String>) -> Vec<&'static str> {
        let faults = self.faults.iter().filter(|(_, fault)| match fault {
            Fault::Point(name, _, hit) => fired.contains(&format!("{name}@{hit}")),
            _ => false,
        });
        faults.map(|(_, fault)| fault.class()).collect()
    }

    /// The lines for the failpoints: they lie in wait from the beginning.
    pub(crate) fn points(&self) -> String {
        let points = self.faults.iter().filter_map(|(_, fault)| match fault {
            Fault::Point(..) => Some(format!("{fault}\n")),
            _ => None,
        });
        points.collect()
    }
}

impl Display for Plan {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "seed {}", self.seed)?;
        if self.transport == Transport::Nats {
            out.write_str(" over NATS")?;
        }
        if self.profile != Profile::DEFAULT.name {
            write!(out, " at a gateway of the kind {}", self.profile)?;
        }
        if self.orders {
            out.write_str(" with orders")?;
        }
        out.write_str(":")?;
        for (after, fault) in &self.faults {
            match fault {
                Fault::Point(..) => write!(out, " [{fault}]")?,
                _ => write!(out, " [{fault} after {after} events]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_plan_again_and_another_one_another() {
        assert_eq!(Plan::drawn(7, 1_000, None), Plan::drawn(7, 1_000, None));
        assert_ne!(
            Plan::drawn(7, 1_000, None).faults,
            Plan::drawn(8, 1_000, None).faults
        );
    }

    #[test]
    fn every_class_is_drawn_in_its_turn() {
        let plans = (0..400).map(|seed| Plan::drawn(seed, 1_000, None));
        let classes: BTreeSet<&str> = plans
            .flat_map(|plan| plan.faults)
            .map(|(_, fault)| fault.class())
            .collect();
        assert_eq!(classes.len(), 20, "{classes:?}");
    }
}
