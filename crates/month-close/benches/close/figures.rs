//! What a month came to, as figures.
//!
//! | key | |
//! |---|---|
//! | `sampled_per_s` | accounts per second of making the sample |
//! | `generated_per_s` | accounts per second of the stage *generate* |
//! | `settled_per_s` | accounts per second of the stage *settle*: all is charged, told and filed |
//! | `total_s` | generate, settle and checks |
//! | `reference_per_s` | accounts per second of the reference |
//! | `ratio` | `generated_per_s` / `reference_per_s` |
//! | `wal_bytes_per_account` | written ahead during *generate* |
//! | `peak_rss_mb` | the most memory that `month-close` took, in *generate* or *settle* |
//! | `interactive_ms` | from commit to handled, of interactive events while the bulk settles |
//! | `seconds` | by stage; `checks` are those of one more run, on a log at rest |

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::reference::Reference;

/// A month that was closed.
pub(crate) struct Figures {
    pub(crate) accounts: u64,
    pub(crate) month: String,
    /// What the program printed after each of its runs.
    pub(crate) sampled: Value,
    pub(crate) generated: Value,
    pub(crate) settled: Option<Value>,
    pub(crate) wal_bytes: u64,
    pub(crate) reference: Reference,
}

impl Figures {
    /// Whether nothing was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.last()["checks"]["violated"] == 0 && self.last()["events"]["dead"] == 0
    }

    fn last(&self) -> &Value {
        self.settled.as_ref().unwrap_or(&self.generated)
    }
    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let seconds = |run: &Value, stage: &str| decimal(&run["seconds"][stage]);
        let (last, generate) = (self.last(), seconds(&self.generated, "generate"));
        let (settle, checks) = (seconds(last, "settle"), seconds(last, "checks"));
        let sample = seconds(&self.sampled, "import");
        let reference = of(self.reference.took);
        let total = generate + settle + checks;
        json!({
            "month": self.month,
            "accounts": self.accounts,
            "invoices": last["invoices"]["final"],
            "lines": last["lines"],
            "sampled_per_s": number(self.per(sample)),
            "generated_per_s": number(self.per(generate)),
            "settled_per_s": number(self.per(settle)),
            "total_s": number(total),
            "reference_per_s": number(self.per(reference)),
            "ratio": number(quotient(reference, generate).round_dp(3)),
            "wal_bytes_per_account": self.wal_bytes / self.accounts,
            "peak_rss_mb": self.peak_rss_mb(),
            "seconds": {
                "sample": number(sample),
                "generate": number(generate),
                "settle": number(settle),
                "checks": number(checks),
                "reference": number(reference),
                "total": number(total),
            },
            "reference": {
                "rows": self.reference.rows,
                "wal_bytes_per_account": self.reference.wal_bytes / self.accounts,
            },
            "interactive_ms": last["interactive_ms"],
            "checks": last["checks"],
            "events": last["events"],
        })
    }

    fn per(&self, seconds: Decimal) -> Decimal {
        quotient(Decimal::from(self.accounts), seconds).round()
    }

    fn peak_rss_mb(&self) -> Option<u64> {
        let runs = [Some(&self.generated), self.settled.as_ref()];
        let peaks = runs.into_iter().flatten();
        peaks.filter_map(|run| run["peak_rss_mb"].as_u64()).max()
    }
}

fn of(took: Duration) -> Decimal {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Decimal::from_i128_with_scale(millis.into(), 3)
}

/// A stage that did not take place took no time.
fn quotient(of: Decimal, by: Decimal) -> Decimal {
    of.checked_div(by).unwrap_or_default()
}

fn decimal(number: &Value) -> Decimal {
    number.to_string().parse().unwrap_or_default()
}

fn number(decimal: Decimal) -> Value {
    let text = decimal.normalize().to_string();
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Value::Number)
}
