//! Departures: attempts leave together, so that a thousand calls do not cost a thousand commits.
//!
//! One line for the whole process. Whoever comes while a transaction is under way leaves with the
//! next one; nobody waits for company.

use std::sync::OnceLock;

use billing::ids::PaymentId;
use billing::payment;
use chrono::{DateTime, Utc};
use outbox::{Act, CommitError, Failure, Origin, Outbox};
use tokio::sync::{mpsc, oneshot};

use super::failure;
use crate::site::told;

/// The accounts of so many attempts are locked at once, for a few milliseconds.
const TOGETHER_MAX: usize = 128;

/// Lets attempts depart.
#[derive(Debug)]
pub(super) struct Departures {
    outbox: Outbox,
    line: OnceLock<mpsc::Sender<Leaving>>,
}

#[derive(Debug)]
struct Leaving {
    payment: PaymentId,
    deadline: DateTime<Utc>,
    answer: oneshot::Sender<Result<bool, Stays>>,
}

/// Why an attempt did not depart; nothing was sent.
#[derive(Debug, Clone)]
pub(super) enum Stays {
    /// The database was away: nobody departs.
    Outage(String),
    /// This one's departure failed.
    Failed(String),
}

impl Stays {
    fn of(failure: &Failure) -> Self {
        let text = told(failure);
        match failure.is_outage() {
            true => Self::Outage(text),
            false => Self::Failed(text),
        }
    }

    fn broken() -> Self {
        Self::Failed("the departures of payments broke off".to_owned())
    }
}

impl<A> From<Stays> for Act<A> {
    fn from(stays: Stays) -> Self {
        let after = None;
        match stays {
            Stays::Outage(error) => Self::Unavailable { error, after },
            Stays::Failed(error) => Self::Retry { error, after },
        }
    }
}

impl Departures {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            line: OnceLock::new(),
        }
    }

    /// Marks an attempt as sent, with the instant until which its key is safe. False when the world
    /// had changed: it is cancelled then, and must not be called.
    pub(super) async fn leave(
        &self,
        payment: PaymentId,
        deadline: DateTime<Utc>,
    ) -> Result<bool, Stays> {
        let (answer, answered) = oneshot::channel();
        let leaving = Leaving {
            payment,
            deadline,
            answer,
        };
        let line = self.line.get_or_init(|| open_line(self.outbox.clone()));
        line.send(leaving).await.map_err(|_| Stays::broken())?;
        answered.await.unwrap_or_else(|_| Err(Stays::broken()))
    }

    /// Puts back an attempt that departed and surely was not sent.
    pub(super) async fn stay(&self, payment: PaymentId) -> Result<(), Stays> {
        let put_back = async {
            let origin = Origin::of("consumer payments").because("nothing was sent");
            let mut tx = self.outbox.begin(origin).await?;
            payment::stay(&mut tx, payment).await?;
            tx.commit().await.map_err(|CommitError(error)| error)
        };
        let put_back: Result<_, sqlx::Error> = put_back.await;
        put_back
            .map(|_| ())
            .map_err(|error| Stays::of(&error.into()))
    }

    /// Whether the world still asks for an attempt that departed before.
    pub(super) async fn is_wanted(&self, payment: PaymentId) -> Result<bool, Stays> {
        let pool = self.outbox.pool();
        let asked = async {
            let mut connection = pool.acquire().await?;
            payment::is_wanted(&mut connection, payment).await
        };
        asked.await.map_err(|error| Stays::of(&error.into()))
    }
}

fn open_line(outbox: Outbox) -> mpsc::Sender<Leaving> {
    let (line, mut waiting) = mpsc::channel(TOGETHER_MAX);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, TOGETHER_MAX).await > 0 {
            // On a task of its own: a panic over one batch must not end the line.
            let departing = depart(outbox.clone(), std::mem::take(&mut batch));
            if let Err(error) = tokio::spawn(departing).await {
                tracing::error!(%error, "The departures of a batch broke off");
            }
        }
    });
    line
}

/// When they cannot leave together, each leaves alone, so that only the culprit stays; but not in
/// an outage, in which each would wait for a connection in vain.
async fn depart(outbox: Outbox, batch: Vec<Leaving>) {
    match try_depart(&outbox, &batch).await {
        Ok(left) => {
            for leaving in batch {
                let has_left = left.contains(&leaving.payment);
                answer(leaving, Ok(has_left));
            }
        }
        Err(error) => {
            let all_stay = batch.len() == 1 || matches!(error, Stays::Outage(_));
            for leaving in batch {
                let alone = if all_stay {
                    Err(error.clone())
                } else {
                    let left = try_depart(&outbox, std::slice::from_ref(&leaving)).await;
                    left.map(|left| left.contains(&leaving.payment))
                };
                answer(leaving, alone);
            }
        }
    }
}

async fn try_depart(outbox: &Outbox, batch: &[Leaving]) -> Result<Vec<PaymentId>, Stays> {
    let leaving = batch.iter().map(|one| (one.payment, one.deadline));
    let leaving: Vec<(PaymentId, DateTime<Utc>)> = leaving.collect();
    let departed = async {
        let origin = Origin::of("consumer payments").because("a departure");
        let mut tx = outbox.begin(origin).await?;
        let left = payment::depart_all(&mut tx, &leaving, outbox::clock::now()).await;
        let left = left.map_err(failure)?;
        tx.commit().await.map_err(|CommitError(error)| error)?;
        Ok(left)
    };
    departed.await.map_err(|failure| Stays::of(&failure))
}

/// A call that was given up meanwhile is not told; its row says what to do next.
fn answer(leaving: Leaving, has_left: Result<bool, Stays>) {
    if leaving.answer.send(has_left).is_err() {
        tracing::debug!(payment = %leaving.payment, "A call was given up at its departure");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::postgres::PgPoolOptions;

    use super::*;

    /// As a failed attempt, a restart of the server would be one of each payment under way.
    #[tokio::test]
    async fn an_outage_is_nobodys_attempt() {
        let pool = PgPoolOptions::new()
            .acquire_timeout(Duration::from_millis(10))
            .connect_lazy("postgres://nobody@127.0.0.1:1/nowhere");
        let departures = Departures::new(Outbox::new(pool.unwrap()));

        let left = departures.leave(PaymentId::new(), outbox::clock::now());
        let act = Act::<()>::from(left.await.unwrap_err());
        assert!(matches!(act, Act::Unavailable { .. }), "{act:?}");

        let wanted = departures.is_wanted(PaymentId::new());
        let act = Act::<()>::from(wanted.await.unwrap_err());
        assert!(matches!(act, Act::Unavailable { .. }), "{act:?}");
    }

    #[test]
    fn what_fails_for_one_is_tried_again_by_itself() {
        let stays = Stays::of(&Failure::retry("its row makes no sense"));
        let act = Act::<()>::from(stays);
        assert!(matches!(act, Act::Retry { .. }), "{act:?}");
    }
}
