//! What was answered is in the books, whenever the program is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::scene::{Program, until};

#[tokio::test]
async fn a_charge_that_was_answered_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let answer = first.caller().charge("a-1", "tok_approve").await;
    first.kill_9();

    let next = Program::start(dir.path());

    assert_eq!(next.url, first.url, "callers find it where it was");
    let found = next.caller().charges_of("a-1").await;
    assert_eq!(found, [answer.json()]);
    assert_eq!(next.caller().charge("a-1", "tok_approve").await, answer);
}

#[tokio::test]
async fn no_answered_charge_is_lost_when_killed_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (client, answered) = (program.caller(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut charged = Vec::new();
                loop {
                    let key = format!("c{caller}-{}", charged.len());
                    match client.try_charge(&key, "tok_approve").await {
                        Some(answer) => charged.push((key, answer.json())),
                        None => return charged,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("300 answers", async || {
        (answered.load(Ordering::Relaxed) >= 300).then_some(())
    })
    .await;
    program.kill_9();
    // They end before the next one starts: it may get the same port, and they would go on with it.
    let mut charged = Vec::new();
    for caller in callers {
        charged.extend(caller.await.unwrap());
    }

    let next = Program::start(dir.path());
    let mut count = 0;
    for (key, charge) in charged {
        assert_eq!(next.caller().charges_of(&key).await, [charge]);
        count += 1;
    }
    let statement = next.caller().get("/v1/statement").await;
    let in_books = statement["totals"][0]["captured_count"].as_u64().unwrap();
    assert!(
        (count..=count + 8).contains(&in_books),
        "{count} answered, {in_books} in the books"
    );
}
