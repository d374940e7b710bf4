//! Progress of a stage with rate and time left: a bar on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// Over how many lines a rate is taken: what was done before says little of what is left.
const RECENT: usize = 10;

/// One stage of the run.
#[derive(Clone)]
pub(crate) struct Stage {
    name: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    lines: Arc<Mutex<Lines>>,
}

/// The plain lines that were printed last: when, and how much was done.
struct Lines {
    last: VecDeque<(Instant, u64)>,
    waits_for: Option<String>,
}

impl Stage {
    /// Begins a stage; `unit` names what is counted, in the plural.
    pub(crate) fn begin(name: &'static str, unit: &'static str) -> Self {
        let started = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(name, unit));
        Self {
            name,
            unit,
            bar,
            started,
            lines: Arc::new(Mutex::new(Lines {
                last: VecDeque::from([(started, 0)]),
                waits_for: None,
            })),
        }
    }

    /// `done` of `total` so far. A total may grow while the stage runs.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            return;
        }
        let mut lines = self.lines();
        if lines
            .last
            .back()
            .is_none_or(|(at, _)| at.elapsed() >= LINE_EVERY)
        {
            eprintln!("{}", lines.next(self.name, self.unit, done, total));
        }
    }

    /// What no rate tells the end of; said instead of the time that is left.
    pub(crate) fn waits_for(&self, what: Option<String>) {
        if let Some(bar) = &self.bar {
            let what = what.as_ref().map(|what| format!("; {what}"));
            bar.set_message(what.unwrap_or_default());
        }
        self.lines().waits_for = what;
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the stage and says what came of it; answers how long it took.
    pub(crate) fn end(self, outcome: &str) -> Duration {
        let took = self.started.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{:<9} {outcome} in {}", self.name, seconds(took));
        took
    }
}

fn bar(name: &'static str, unit: &'static str) -> ProgressBar {
    let template = format!(
        "{name:<9} {{bar:30}} {{human_pos}} of {{human_len}} {unit}, {{per_sec}}, {{eta}} \
         left{{msg}}"
    );
    let style = ProgressStyle::with_template(&template)
        .expect("the template is ours")
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

impl Lines {
    fn next(&mut self, name: &str, unit: &str, done: u64, total: u64) -> String {
        let now = Instant::now();
        let (since, before) = self.last.front().copied().unwrap_or((now, 0));
        self.last.push_back((now, done));
        if self.last.len() > RECENT {
            self.last.pop_front();
        }
        let rate = rate(done.saturating_sub(before), now - since);
        let left = match &self.waits_for {
            Some(what) => what.clone(),
            None => left(rate, total.saturating_sub(done)),
        };
        format!("{name:<9} {done} of {total} {unit}, {rate}/s, {left}")
    }
}

fn rate(done: u64, took: Duration) -> u64 {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    done.saturating_mul(1000) / millis
}

fn left(rate: u64, left: u64) -> String {
    match (rate, left) {
        (0, 1..) => "unknown left".to_owned(),
        // What is handled sets off more; that there is none is told by the end of the stage.
        (_, 0) => "more may follow".to_owned(),
        (rate, left) => format!("{} s left", left.div_ceil(rate)),
    }
}

/// A duration as a person reads it: `0.42 s`, `75.3 s`.
pub(crate) fn seconds(took: Duration) -> String {
    let millis = took.as_millis();
    if millis < 10_000 {
        format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
    } else {
        format!("{}.{} s", millis / 1000, millis % 1000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(ago: Duration) -> Lines {
        let then = Instant::now().checked_sub(ago).unwrap();
        Lines {
            last: VecDeque::from([(then, 100)]),
            waits_for: None,
        }
    }

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let mut lines = lines(Duration::from_secs(100));
        let text = lines.next("generate", "accounts", 50_150, 80_000);
        assert_eq!(text, "generate  50150 of 80000 accounts, 500/s, 60 s left");
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
        assert_eq!(left(0, 2_000), "unknown left");
        assert_eq!(left(300, 0), "more may follow");
        assert_eq!(left(300, 301), "2 s left");
    }

    #[test]
    fn a_rate_is_the_one_of_late() {
        let mut lines = lines(Duration::from_secs(100));
        let rates = (0..=RECENT).map(|_| {
            let line = lines.next("settle", "events", 50_150, 80_000);
            line.contains(" 0/s, unknown left")
        });
        let rates: Vec<bool> = rates.collect();
        assert!(!rates[0], "it did something before");
        assert!(rates[RECENT], "and then it stood still");
    }

    #[test]
    fn what_is_waited_for_is_told_instead_of_a_time() {
        let mut lines = lines(Duration::from_secs(100));
        lines.waits_for = Some("documents is paused".to_owned());
        let text = lines.next("settle", "events", 150, 200);
        assert_eq!(
            text,
            "settle    150 of 200 events, 0/s, documents is paused"
        );
    }

    #[test]
    fn seconds_are_short() {
        assert_eq!(seconds(Duration::from_millis(1_234)), "1.23 s");
        assert_eq!(seconds(Duration::from_millis(75_390)), "75.3 s");
    }
}
