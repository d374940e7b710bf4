//! Golden payloads: one of each version of each topic lies in `docs/events`, and stays. What is
//! appended today has the shape of the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::plants::good;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events");

/// Those that the months of `good` have no occasion for: their shape is compared when they have.
const NOT_SEEN: [&str; 12] = [
    "account.changed",
    "check.due",
    "check.passed",
    "check.violated",
    "dunning.due",
    "hold.released",
    "month_close.reopened",
    "month_close.settled",
    "payment.contradicted",
    "payment_method.removed",
    "refund.declined",
    "refund.unresolved",
];

/// Topics and versions of the golden payloads.
fn golden() -> BTreeMap<(String, i16), Value> {
    let files = fs::read_dir(GOLDEN)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    json.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (topic, version) = name.rsplit_once(".v").unwrap();
        let payload = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        ((topic.to_owned(), version.parse().unwrap()), payload)
    })
    .collect()
}

/// Whether a payload has the shape of its topic's golden payload.
pub(crate) fn is_like_golden(topic: &str, told: &Value) -> bool {
    let golden = golden();
    is_alike(&golden[&(topic.to_owned(), 1)], told)
}

/// Names and kinds; `null` is of every kind.
fn is_alike(golden: &Value, told: &Value) -> bool {
    match (golden, told) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(golden), Value::Object(told)) => {
            golden.keys().eq(told.keys())
                && golden
                    .iter()
                    .all(|(name, value)| is_alike(value, &told[name]))
        }
        (Value::Array(golden), Value::Array(told)) => told
            .iter()
            .all(|told| golden.first().is_none_or(|golden| is_alike(golden, told))),
        (golden, told) => std::mem::discriminant(golden) == std::mem::discriminant(told),
    }
}

#[test]
fn a_shape_differs_by_a_name_or_a_kind_at_any_depth() {
    let golden = serde_json::json!({ "a": [{ "b": 1 }], "c": null });
    let differs = |told| !is_alike(&golden, &told);

    assert!(is_alike(
        &golden,
        &serde_json::json!({ "a": [{ "b": 2 }, { "b": 3 }], "c": "x" })
    ));
    assert!(differs(
        serde_json::json!({ "a": [{ "b": "1" }], "c": null })
    ));
    assert!(differs(
        serde_json::json!({ "a": [{ "b": 1, "d": 1 }], "c": null })
    ));
    assert!(differs(serde_json::json!({ "a": [] })));
}

#[tokio::test]
async fn what_is_appended_has_the_shape_of_its_golden_payload() {
    let books = good().await;
    let golden = golden();
    let told = "select topic, schema_version, payload from outbox.event
        union all
        select topic, schema_version, payload from outbox.timer";
    let told: Vec<(String, i16, Value)> =
        sqlx::query_as(told).fetch_all(books.pool()).await.unwrap();

    for (topic, version, payload) in &told {
        let known = golden.get(&(topic.clone(), *version));
        let known = known.unwrap_or_else(|| panic!("no docs/events/{topic}.v{version}.json"));
        assert!(
            is_alike(known, payload),
            "{topic} v{version} is {payload}, and was {known}"
        );
        assert!(
            !golden.contains_key(&(topic.clone(), version + 1)),
            "{topic}: an old version"
        );
    }
    let seen: BTreeSet<&str> = told.iter().map(|(topic, ..)| topic.as_str()).collect();
    let unseen = golden.keys().map(|(topic, _)| topic.as_str());
    let unseen: BTreeSet<&str> = unseen.filter(|topic| !seen.contains(topic)).collect();
    assert!(unseen.into_iter().eq(NOT_SEEN));
}

/// Read from the source: `NewEvent::new("topic", version, …)`, and topics that are named elsewhere.
#[test]
fn every_topic_that_can_be_appended_has_a_golden_payload() {
    let golden = golden();
    let mut appended = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&source, &mut appended);

    assert!(appended.len() > 20, "{appended:?}");
    for (topic, version) in appended {
        for version in 1..=version {
            let name = (topic.clone(), version);
            assert!(
                golden.contains_key(&name),
                "no docs/events/{topic}.v{version}.json"
            );
        }
    }
}

fn collect(folder: &Path, appended: &mut BTreeSet<(String, i16)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, appended);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for call in text.split("NewEvent::new(").skip(1) {
            let mut words = call.split(',').map(str::trim);
            let (topic, version) = (words.next().unwrap(), words.next().unwrap());
            if let Some(topic) = topic.strip_prefix('"') {
                let topic = topic.trim_end_matches('"').to_owned();
                appended.insert((topic, version.parse().unwrap()));
            }
        }
        for call in text.split("event(&run, \"").skip(1) {
            appended.insert((call.split('"').next().unwrap().to_owned(), 1));
        }
    }
}
