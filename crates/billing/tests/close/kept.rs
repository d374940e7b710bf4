//! The checks of a log that lost its oldest history to a policy, or moved to another cluster.

use billing::check::Scope;
use outbox::operation::By;
use outbox::rebase;

use crate::plants::good;

/// As the retention of a partition does it, with all that is in the log so far.
const FORGET: &str = "
    insert into outbox.dropped
    select lane, topic, part, count(*) from outbox.event group by lane, topic, part;
    delete from outbox.event";
const REMEMBER: &str = "
    update outbox.retained
    set event_id = (select event_id from outbox.event order by event_id desc limit 1)";

#[tokio::test]
async fn history_that_was_dropped_violates_nothing() {
    let naive = good().await;
    naive.run(FORGET).await;
    let violated = naive.violated(Scope::AtRest).await;
    assert!(
        violated.contains(&"A1") && violated.contains(&"M4"),
        "{violated:?}"
    );

    let books = good().await;
    books.run(REMEMBER).await;
    books.run(FORGET).await;

    assert_eq!(books.violated(Scope::AtRest).await, Vec::<&str>::new());
    let late = books.account("late-comer", "USD").await;
    assert_eq!(books.violated(Scope::Always).await, Vec::<&str>::new());
    books
        .run("delete from outbox.event where topic = 'account.created'")
        .await;
    assert_eq!(books.violated(Scope::Always).await, ["A1"], "{late:?}");
}

#[tokio::test]
async fn a_log_that_moved_to_another_cluster_violates_nothing() {
    let books = good().await;
    // As after a dump: the server says another name than the log, and its transactions are lower.
    books
        .run("update outbox.meta set system_identifier = system_identifier - 1")
        .await;
    books
        .run("update outbox.event set xid = (xid::text::bigint + 1000000)::text::xid8")
        .await;
    books
        .run(
            "update outbox.tick set snapshot = format(
                '%s:%s:%s',
                pg_snapshot_xmin(snapshot)::text::bigint + 1000000,
                pg_snapshot_xmax(snapshot)::text::bigint + 1000000,
                (select string_agg((xid::text::bigint + 1000000)::text, ',')
                    from pg_snapshot_xip(snapshot) as xid)
            )::pg_snapshot",
        )
        .await;
    books.account("unpublished", "USD").await;

    let by = By {
        actor: "operator".to_owned(),
        reason: "moved".to_owned(),
    };
    rebase(books.pool(), &by).await.unwrap();
    assert_eq!(books.violated(Scope::Always).await, Vec::<&str>::new());
    books.settle().await;
    let account = books.account("later", "USD").await;
    books.settle().await;

    assert_eq!(
        books.violated(Scope::AtRest).await,
        Vec::<&str>::new(),
        "{account:?}"
    );
}
