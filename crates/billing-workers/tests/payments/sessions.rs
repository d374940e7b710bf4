//! Sessions side by side: their steps in a given order, where a step that waits for another
//! session's lock is seen to wait and the rest goes on, as people do it with several terminals.

use billing::payment::{self, Outcome};
use futures::future::BoxFuture;
use outbox::UnitOfWork;
use testkit::until;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{PATIENCE, World, now};

/// What a session does with its transaction, a step at a time.
pub(crate) type Body = Box<dyn FnOnce(UnitOfWork, Steps) -> BoxFuture<'static, ()> + Send>;

/// Two sessions with so many steps each: every order of their steps.
pub(crate) fn interleavings(steps: [usize; 2]) -> Vec<Vec<usize>> {
    let mut orders = Vec::new();
    for who in [0, 1] {
        let mut left = steps;
        let Some(rest) = left[who].checked_sub(1) else {
            continue;
        };
        left[who] = rest;
        for mut order in interleavings(left) {
            order.insert(0, who);
            orders.push(order);
        }
    }
    if orders.is_empty() {
        orders.push(Vec::new());
    }
    orders
}

/// A session of two steps: it acts, and it commits.
pub(crate) fn acting(
    act: impl for<'a> FnOnce(&'a mut UnitOfWork) -> BoxFuture<'a, ()> + Send + 'static,
) -> Body {
    Box::new(move |mut tx, mut steps| {
        Box::pin(async move {
            steps.turn().await;
            act(&mut tx).await;
            steps.turn().await;
            tx.commit().await.unwrap();
        })
    })
}

/// The session that records what a call came to.
pub(crate) fn answering(payment: billing::ids::PaymentId, outcome: Outcome) -> Body {
    acting(move |tx| {
        Box::pin(async move {
            let outcomes = [(payment, outcome)];
            payment::settle_all(tx, &outcomes, now()).await.unwrap();
        })
    })
}

/// A session's side of its turns.
pub(crate) struct Steps {
    turns: UnboundedReceiver<oneshot::Sender<()>>,
    /// Dropped when the step ends.
    under_way: Option<oneshot::Sender<()>>,
}

impl Steps {
    /// Ends the step before, and waits for the next one's turn.
    pub(crate) async fn turn(&mut self) {
        self.under_way = None;
        self.under_way = self.turns.recv().await;
    }
}

struct Session {
    pid: i32,
    turns: UnboundedSender<oneshot::Sender<()>>,
    under_way: Vec<oneshot::Receiver<()>>,
    body: JoinHandle<()>,
}

impl Session {
    async fn begin(world: &World, body: Body) -> Self {
        let mut tx = world.begin().await;
        let pid = sqlx::query_scalar("select pg_backend_pid()");
        let pid = pid.fetch_one(&mut *tx).await.unwrap();
        let (turns, taken) = unbounded_channel();
        let steps = Steps {
            turns: taken,
            under_way: None,
        };
        Self {
            pid,
            turns,
            under_way: Vec::new(),
            body: tokio::spawn(body(tx, steps)),
        }
    }

    /// Lets it take its next step, and tells whether that waits for somebody.
    async fn step(&mut self, world: &World) -> bool {
        let (ends, ended) = oneshot::channel();
        self.turns.send(ends).unwrap();
        self.under_way.push(ended);
        until("a step to end or to wait", PATIENCE, async || {
            let is_over = |step: &mut oneshot::Receiver<()>| {
                !matches!(step.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            };
            self.under_way.retain_mut(|step| !is_over(step));
            if self.under_way.is_empty() {
                return Some(false);
            }
            let waits = format!("cardinality(pg_blocking_pids({})) > 0", self.pid);
            (world.ask(&format!("select {waits}")).await == "true").then_some(true)
        })
        .await
        .unwrap()
    }
}

/// Runs two sessions in an order of their steps, to their ends; tells whether one waited.
pub(crate) async fn run(world: &World, bodies: [Body; 2], order: &[usize]) -> bool {
    let [first, second] = bodies;
    let mut sessions = [
        Session::begin(world, first).await,
        Session::begin(world, second).await,
    ];
    let mut waited = false;
    for who in order {
        waited |= sessions[*who].step(world).await;
    }
    for session in sessions {
        let ended = tokio::time::timeout(PATIENCE, session.body).await;
        ended.unwrap().unwrap();
    }
    waited
}
