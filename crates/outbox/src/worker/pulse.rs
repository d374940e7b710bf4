//! The pulse: what every loop of a process has to know, asked once for all of them.
//!
//! Loops that asked by themselves were what an idle worker cost: two lanes and a loop for trouble
//! per consumer, each with questions of its own four times a second.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use super::idle;
use crate::consumer::Registered;
use crate::supervise::{Watch, answered, pause};
use crate::wake::Listener;

const AFTER_ERROR: Duration = Duration::from_secs(1);
/// It is short, and who hears nothing must not believe for long that nothing has changed.
const WITHIN: Duration = Duration::from_secs(10);

/// How the log and its consumers stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pulse {
    /// Number and instant of the newest tick. A crash of the server may lose it, and another is cut
    /// under its number.
    pub(crate) newest: Option<(i64, DateTime<Utc>)>,
    /// Consumers with deliveries that are not dead letters.
    troubled: Vec<i16>,
    paused: Vec<i16>,
    /// In which generation each consumer reads.
    registered: Vec<Registered>,
    /// Live members with the consumers they work for, in the order of their ids.
    members: Vec<(i16, Uuid)>,
}

impl Pulse {
    pub(crate) fn is_paused(&self, consumer: i16) -> bool {
        self.paused.contains(&consumer)
    }

    pub(crate) fn is_troubled(&self, consumer: i16) -> bool {
        self.troubled.contains(&consumer)
    }

    /// The consumer's generation and shards; nothing as long as the log was not asked.
    pub(crate) fn registered(&self, consumer: i16) -> Option<Registered> {
        self.registered.iter().find(|of| of.id == consumer).copied()
    }

    /// The live members of a consumer.
    pub(crate) fn members_of(&self, consumer: i16) -> Vec<Uuid> {
        let members = self.members.iter();
        members
            .filter(|(of, _)| *of == consumer)
            .map(|(_, member)| *member)
            .collect()
    }
}

/// Feels the pulse, and tells the loops when it changes.
#[derive(Clone)]
pub(crate) struct Feeler {
    pub(crate) pool: PgPool,
    pub(crate) pulse: watch::Sender<Pulse>,
    pub(crate) listener: Listener,
    /// How often an idle worker looks by itself.
    pub(crate) poll: Duration,
    pub(crate) watch: Watch,
}

impl Feeler {
    /// Until `shutdown`: when the relay wakes us, and as often as an idle worker looks.
    pub(crate) async fn run(mut self) {
        let shutdown = self.watch.stop();
        let mut is_known = true;
        while !shutdown.is_cancelled() {
            if !is_known && !self.watch.look().await {
                pause(&shutdown, AFTER_ERROR).await;
                continue;
            }
            is_known = true;
            match answered(WITHIN, feel(&self.pool)).await {
                Ok(felt) => {
                    self.pulse.send_if_modified(|known| {
                        let is_new = *known != felt;
                        *known = felt;
                        is_new
                    });
                    idle(&shutdown, &mut self.listener, self.poll).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "The log could not be asked how it stands");
                    is_known = false;
                    pause(&shutdown, AFTER_ERROR).await;
                }
            }
        }
    }
}

async fn feel(pool: &PgPool) -> Result<Pulse, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- pulse: feel
        with newest as (
            select n, at from outbox.tick order by n desc limit 1
        ),
        alive as (
            select consumer, member from outbox.member
            where consumer <> 0 and heartbeat > clock_timestamp() - interval '6 seconds'
        )
        select (select n from newest) as n, (select at from newest) as at,
            array(
                select consumer from outbox.consumer
                where exists (
                    select from outbox.delivery
                    where delivery.consumer = consumer.consumer and state <> 'dead'
                )
                order by consumer
            ) as "troubled!",
            array(
                select consumer from outbox.consumer
                where paused_until > clock_timestamp()
                order by consumer
            ) as "paused!",
            array(select consumer from outbox.consumer order by consumer) as "registered!",
            array(select generation from outbox.consumer order by consumer) as "generations!",
            array(select shards from outbox.consumer order by consumer) as "shards!",
            array(select consumer from alive order by consumer, member) as "consumers!",
            array(select member from alive order by consumer, member) as "members!"
        "#
    )
    .fetch_one(pool)
    .await?;
    Ok(Pulse {
        newest: row.n.zip(row.at),
        troubled: row.troubled,
        paused: row.paused,
        registered: row
            .registered
            .into_iter()
            .zip(row.generations.into_iter().zip(row.shards))
            .map(|(id, (generation, shards))| Registered {
                id,
                generation,
                shards,
            })
            .collect(),
        members: row.consumers.into_iter().zip(row.members).collect(),
    })
}
