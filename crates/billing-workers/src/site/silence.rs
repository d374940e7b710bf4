//! Silence: a database that does nothing for a program which waits for it.
//!
//! A network may swallow a connection and tell neither side: the server believes that nothing is
//! asked of it, the program that its question is being worked on. Neither is wrong, so nothing
//! ends by itself. A question that is asked on a fresh connection settles it.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// How often the server is asked whether it does anything for us.
const LOOK: Duration = Duration::from_secs(15);
/// Who worked within this is not silent.
const LATELY: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Why a program that only waits should end.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database has done nothing for this program for {} s, which waits for its answer: a \
     connection was lost on the way, and nobody was told; run it again, it goes on where it \
     stopped",
    .0.as_secs()
)]
pub struct SilenceError(Duration);

/// Waits until none of a program's sessions was asked anything for `limit`; for a program that asks
/// all the time. As long as the server cannot be asked either, nothing follows.
pub(super) async fn of(options: PgConnectOptions, limit: Duration) -> SilenceError {
    let lately = limit.min(LATELY);
    let mut since: Option<Instant> = None;
    loop {
        outbox::clock::pause(LOOK.min(limit)).await;
        let asked = tokio::time::timeout(ANSWERS_WITHIN, is_silent(&options, lately));
        match asked.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                since = None;
                continue;
            }
            Ok(Err(_)) | Err(_) => continue,
        }
        let began = *since.get_or_insert_with(Instant::now);
        if began.elapsed() >= limit {
            return SilenceError(began.elapsed());
        }
    }
}

/// Whether no session of the program's name works, or did so lately.
async fn is_silent(options: &PgConnectOptions, lately: Duration) -> Result<bool, sqlx::Error> {
    let name = options.get_application_name().unwrap_or_default();
    let mut fresh = options.connect().await?;
    let silent = sqlx::query_scalar!(
        r#"
        -- site: whether a program asks nothing
        select not exists (
            select from pg_stat_activity
            where application_name = $1 and pid <> pg_backend_pid()
                and (
                    state <> 'idle'
                    or state_change > clock_timestamp() - $2::bigint * interval '1 microsecond'
                )
        ) as "silent!"
        "#,
        name,
        i64::try_from(lately.as_micros()).unwrap_or(i64::MAX),
    )
    .fetch_one(&mut fresh)
    .await?;
    fresh.close().await?;
    Ok(silent)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use testkit::{Link, TestDb, Trouble};

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn named(url: &str) -> PgConnectOptions {
        let options = PgConnectOptions::from_str(url).unwrap();
        options.application_name("a program of this test")
    }

    #[tokio::test]
    async fn a_program_whose_connection_was_swallowed_is_told() {
        let db = TestDb::empty().await.unwrap();
        let link = Link::to_postgres(db.url()).unwrap();
        let mut conn = named(&link.over(db.url())).connect().await.unwrap();
        link.begin(Trouble::BlackHole);
        let waiting = tokio::spawn(async move { conn.ping().await });

        let error = of(named(db.url()), SOON).await;

        assert!(error.0 >= SOON);
        assert!(!waiting.is_finished(), "it would wait for ever");
        waiting.abort();
    }

    #[tokio::test]
    async fn a_program_whose_statement_takes_long_is_not_silent() {
        let db = TestDb::empty().await.unwrap();
        let options = named(db.url());
        let mut working = options.connect().await.unwrap();
        let long = tokio::spawn(async move {
            sqlx::query("select pg_sleep(60)")
                .execute(&mut working)
                .await
        });
        testkit::until(
            "the statement to begin",
            Duration::from_secs(10),
            async || {
                let silent = is_silent(&options, Duration::ZERO).await.unwrap();
                (!silent).then_some(())
            },
        )
        .await
        .unwrap();

        assert!(!is_silent(&options, Duration::ZERO).await.unwrap());
        long.abort();
    }
}
