//! The summary: what a run came to, for a finance person and for a machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use billing::check::Outcome;
use billing::money::Money;
use billing::month_close::{Figures, Run, State};
use billing::report::{Collection, Standing};
use chrono::NaiveDate;
use outbox::{Rest, Since};
use serde_json::{Map, Value, json};

use crate::import::Imported;
use crate::progress::seconds;
use crate::sample::Sampled;
use crate::{Verdict, checks, memory, report};

/// External id → currency code → what was invoiced.
pub(crate) type ByAccount = BTreeMap<String, BTreeMap<String, Money>>;

/// How long each stage took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) import: Duration,
    pub(crate) generate: Duration,
    pub(crate) settle: Duration,
    pub(crate) checks: Duration,
    pub(crate) total: Duration,
}

/// All that is to be said about a run.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) run: Run,
    pub(crate) figures: Figures,
    /// Nothing was left to bill when the run began.
    pub(crate) was_closed: bool,
    pub(crate) dry: bool,
    pub(crate) collection: Collection,
    /// Whoever appended, published and handled them, from the run's begin to its end.
    pub(crate) events: Since,
    pub(crate) rest: Rest,
    pub(crate) times: Times,
    pub(crate) checks: Vec<Outcome>,
    /// The oldest month before this one that has something to bill.
    pub(crate) earlier: Option<NaiveDate>,
    pub(crate) sampled: Option<Sampled>,
    pub(crate) documents: Option<PathBuf>,
    /// Where notices went, in words.
    pub(crate) mail: Option<String>,
    pub(crate) report: Option<PathBuf>,
    pub(crate) by_account: Option<ByAccount>,
}

impl Summary {
    /// What the run came to.
    pub(crate) fn verdict(&self) -> Verdict {
        if checks::is_violated(&self.checks) || self.rest.dead > 0 {
            Verdict::Violated
        } else if self.figures.exceptions > 0 {
            Verdict::Exceptions
        } else {
            Verdict::Clean
        }
    }

    /// For people, on stderr.
    pub(crate) fn print(&self) {
        eprintln!("\n{}\n", self.headline());
        if self.collection.figures.is_empty() {
            self.print_figures();
        } else {
            report::print(self.run.month, &self.collection);
        }
        eprintln!();
        let Times {
            import,
            generate,
            settle,
            checks,
            total,
        } = self.times;
        eprintln!(
            "Stages     import {}, generate {}, settle {}, checks {}, total {}",
            seconds(import),
            seconds(generate),
            seconds(settle),
            seconds(checks),
            seconds(total)
        );
        let Since {
            appended,
            published,
            ..
        } = self.events;
        let (handled, dead) = (self.handled(), self.rest.dead);
        eprintln!(
            "Events     {appended} appended, {published} published, {handled} handled, {dead} dead"
        );
        if self.rest.waiting > 0 {
            eprintln!(
                "           {} deliveries wait for a later attempt: see why with `cargo run -p \
                 outbox-relay -- retrying`",
                self.rest.waiting
            );
        }
        if dead > 0 {
            eprintln!("           see them with `cargo run -p outbox-relay -- dead list`");
        }
        if let Some(path) = &self.documents {
            eprintln!("Documents  {}", path.display());
        }
        if let Some(sink) = &self.mail {
            eprintln!("Mail       {sink}");
        }
        if let Some(path) = &self.report {
            eprintln!("Report     {}", path.display());
        }
        if let Some(month) = self.earlier {
            let month = month.format("%Y-%m");
            eprintln!("Earlier    {month} is still open: close it with --period {month}");
        }
        if !self.dry {
            checks::print(&self.checks);
        }
    }

    fn headline(&self) -> String {
        let month = self.run.month.format("%B %Y");
        let as_of = self.run.as_of.format("%Y-%m-%d %H:%M:%S UTC");
        let state = match (self.dry, self.was_closed, self.run.state) {
            (true, _, _) => "would close like this; nothing was written",
            (_, true, State::Closed) if self.events == Since::default() => {
                "was closed already; nothing new"
            }
            (_, _, State::Closed) if self.run.settled_at.is_some() => "is closed and settled",
            (_, _, State::Closed) => "is closed",
            (_, _, State::Running) => "is not closed yet: periods of it have not ended",
        };
        let exceptions = match self.figures.exceptions {
            0 => String::new(),
            1 => "\n1 account could not be billed: see the report".to_owned(),
            n => format!("\n{n} accounts could not be billed: see the report"),
        };
        format!("{month} {state}, as of {as_of}.{exceptions}")
    }

    fn print_figures(&self) {
        let Figures {
            accounts,
            invoices,
            paid,
            zero,
            open,
            lines,
            ..
        } = self.figures;
        eprintln!(
            "{accounts} accounts, {invoices} invoices: {open} open, {paid} paid ({zero} zero)"
        );
        eprintln!("{lines} lines");
        for money in &self.figures.invoiced {
            eprintln!("{} {}", money.currency().code(), money.decimal());
        }
    }

    /// What came in for the month's invoices, by currency.
    fn collected(&self) -> Vec<Money> {
        let figures = self.collection.figures.iter();
        figures
            .map(|figures| figures.collected)
            .filter(|money| !money.is_zero())
            .collect()
    }

    /// What is due on invoices whose last payment was declined, by currency.
    fn declined(&self) -> Vec<Money> {
        let open = self.collection.open.iter();
        open.filter(|open| open.standing == Standing::Declined)
            .map(|open| open.due)
            .collect()
    }

    fn handled(&self) -> i64 {
        self.events.handled - self.rest.dead.min(self.events.handled)
    }

    /// For machines: figures describe the month, `seconds` this run, and `events` what happened in
    /// the log while it went on: two runs at once count each other's, too.
    pub(crate) fn json(&self) -> Value {
        let Figures {
            accounts,
            invoices,
            paid,
            zero,
            open,
            lines,
            exceptions,
            ..
        } = self.figures;
        let mut object = json!({
            "period": self.run.month.format("%Y-%m").to_string(),
            "accounts": accounts,
            "invoices": { "final": invoices, "paid": paid, "zero": zero, "open": open },
            "lines": lines,
            "invoiced": by_currency(&self.figures.invoiced),
            "collected": by_currency(&self.collected()),
            "declined": by_currency(&self.declined()),
            "held": self.collection.held,
            "notices": self.collection.notices,
            "exceptions": exceptions,
            "settled": self.run.settled_at.is_some(),
            "events": {
                "appended": self.events.appended,
                "published": self.events.published,
                "handled": self.handled(),
                "dead": self.rest.dead,
            },
            "seconds": {
                "import": number(self.times.import),
                "generate": number(self.times.generate),
                "settle": number(self.times.settle),
                "checks": number(self.times.checks),
                "total": number(self.times.total),
            },
            "checks": checks::summary(&self.checks),
            "peak_rss_mb": memory::peak_mb(),
        });
        if let Some(sampled) = &self.sampled {
            object["sample"] = sample(sampled);
        }
        if let Some(accounts) = &self.by_account {
            object["by_account"] = accounts.iter().map(account).collect::<Map<_, _>>().into();
        }
        object
    }
}

/// For machines: an import that nothing was closed after.
pub(crate) fn imported(imported: &Imported) -> Value {
    let mut object = json!({
        "seconds": { "import": number(imported.took) },
        "peak_rss_mb": memory::peak_mb(),
    });
    if let Some(sampled) = &imported.sampled {
        object["sample"] = sample(sampled);
    }
    object
}

fn sample(sampled: &Sampled) -> Value {
    let Sampled {
        accounts,
        new,
        took,
    } = sampled;
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = new.saturating_mul(1_000) / millis;
    json!({ "accounts": accounts, "new": new, "per_second": per_second })
}

fn by_currency(sums: &[Money]) -> Value {
    sums.iter()
        .map(|money| (money.currency().code().to_owned(), json!(money.decimal())))
        .collect::<Map<_, _>>()
        .into()
}

fn account((external_id, sums): (&String, &BTreeMap<String, Money>)) -> (String, Value) {
    let sums: Map<_, _> = sums
        .iter()
        .map(|(code, money)| (code.clone(), json!(money.decimal())))
        .collect();
    (external_id.clone(), sums.into())
}

/// Seconds to the millisecond.
fn number(took: Duration) -> Value {
    let text = format!("{}.{:03}", took.as_secs(), took.subsec_millis());
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_numbers_to_the_millisecond() {
        assert_eq!(number(Duration::from_millis(12_045)).to_string(), "12.045");
    }
}
