//! A schedule of transactions that begin, append, commit and roll back in a random order, driven
//! one step at a time, so that the order of commits is known.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::log;
use crate::scene::{Scene, keys, run};

/// Draws numbers from a seed: the same seed, the same schedule.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[derive(Default)]
struct Writer {
    open: bool,
    /// The aggregate whose lock it holds.
    key: Option<Uuid>,
    appended: Vec<(Uuid, Uuid)>,
}

pub(crate) struct Schedule {
    connections: Vec<PgConnection>,
    writers: Vec<Writer>,
    keys: Vec<Uuid>,
    pub(crate) dice: Dice,
    /// Key and event, in the order of the commits.
    pub(crate) committed: Vec<(Uuid, Uuid)>,
}

impl Schedule {
    pub(crate) async fn new(scene: &Scene, writers: usize, seed: u64) -> Self {
        let mut connections = Vec::new();
        for _ in 0..writers {
            let mut connection = scene.connection().await;
            run(&mut connection, "set synchronous_commit = off").await;
            connections.push(connection);
        }
        Self {
            connections,
            writers: std::iter::repeat_with(Writer::default)
                .take(writers)
                .collect(),
            keys: keys(writers + 5),
            dice: Dice::seeded(seed),
            committed: Vec::new(),
        }
    }

    /// Another schedule for the same writers.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.dice = Dice::seeded(seed);
    }

    /// One of the writers goes one step further.
    pub(crate) async fn step(&mut self) {
        let at = self.dice.below(self.writers.len());
        match (self.writers[at].open, self.writers[at].key) {
            (false, _) => self.begin(at).await,
            (true, None) => self.lock(at).await,
            (true, Some(key)) => match self.dice.below(10) {
                0..=4 => self.commit(at).await,
                5 => self.end(at, "rollback").await,
                6 => self.append_in_vain(at, key).await,
                _ => self.append(at, key).await,
            },
        }
    }

    /// All open transactions end.
    pub(crate) async fn finish(&mut self) {
        for at in 0..self.writers.len() {
            if self.writers[at].open {
                self.commit(at).await;
            }
        }
    }

    async fn begin(&mut self, at: usize) {
        // Some have their transaction id long before they hold a lock.
        let early = self.dice.below(2) == 0;
        let begin = if early {
            "begin; select pg_current_xact_id()"
        } else {
            "begin"
        };
        run(&mut self.connections[at], begin).await;
        self.writers[at].open = true;
    }

    /// A lock that is held is not waited for: this is the only thread.
    async fn lock(&mut self, at: usize) {
        let held: HashSet<_> = self
            .writers
            .iter()
            .filter_map(|writer| writer.key)
            .collect();
        let free: Vec<_> = self.keys.iter().filter(|key| !held.contains(key)).collect();
        let key = *free[self.dice.below(free.len())];
        self.writers[at].key = Some(key);
        self.append(at, key).await;
    }

    async fn append(&mut self, at: usize, key: Uuid) {
        let event = log::append(&mut self.connections[at], key).await;
        self.writers[at].appended.push((key, event));
    }

    /// Appends inside a savepoint that is undone.
    async fn append_in_vain(&mut self, at: usize, key: Uuid) {
        run(&mut self.connections[at], "savepoint here").await;
        log::append(&mut self.connections[at], key).await;
        run(&mut self.connections[at], "rollback to savepoint here").await;
    }

    async fn commit(&mut self, at: usize) {
        let appended = std::mem::take(&mut self.writers[at].appended);
        self.end(at, "commit").await;
        self.committed.extend(appended);
    }

    async fn end(&mut self, at: usize, how: &str) {
        run(&mut self.connections[at], how).await;
        self.writers[at] = Writer::default();
    }
}

/// How many neighbours of one key stand in another order than they were committed in.
pub(crate) fn inversions(committed: &[(Uuid, Uuid)], read: &[Uuid]) -> usize {
    let places: HashMap<_, _> = committed
        .iter()
        .zip(0_usize..)
        .map(|(row, at)| (row.1, at))
        .collect();
    let mut last = HashMap::new();
    let mut inversions = 0;
    for place in read.iter().filter_map(|event| places.get(event)) {
        let before = last.insert(committed[*place].0, place);
        inversions += usize::from(before.is_some_and(|before| before > place));
    }
    inversions
}
