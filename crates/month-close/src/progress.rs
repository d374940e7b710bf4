//! Progress of a stage with rate and time left: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// One stage of the run.
#[derive(Clone)]
pub(crate) struct Stage {
    name: &'static str,
    unit: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Arc<Mutex<Instant>>,
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
            last_line: Arc::new(Mutex::new(started)),
        }
    }

    /// `done` of `total` so far. A total may grow while the stage runs.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            return;
        }
        let mut last = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            eprintln!(
                "{}",
                line(self.name, self.unit, done, total, self.started.elapsed())
            );
        }
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
        "{name:<9} {{bar:30}} {{human_pos}} of {{human_len}} {unit}, {{per_sec}}, {{eta}} left"
    );
    let style = ProgressStyle::with_template(&template)
        .expect("the template is ours")
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

fn line(name: &str, unit: &str, done: u64, total: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    let left = match (rate, total.saturating_sub(done)) {
        (0, _) => "unknown left".to_owned(),
        // What is handled sets off more; that there is none is told by the end of the stage.
        (_, 0) => "more may follow".to_owned(),
        (rate, left) => format!("{} s left", left.div_ceil(rate)),
    };
    format!("{name:<9} {done} of {total} {unit}, {rate}/s, {left}")
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

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let text = line(
            "generate",
            "accounts",
            500,
            2_000,
            Duration::from_millis(250),
        );
        assert_eq!(text, "generate  500 of 2000 accounts, 2000/s, 1 s left");
        let start = line("generate", "accounts", 0, 2_000, Duration::ZERO);
        assert_eq!(start, "generate  0 of 2000 accounts, 0/s, unknown left");
        let wave = line("settle", "events", 900, 900, Duration::from_secs(3));
        assert_eq!(wave, "settle    900 of 900 events, 300/s, more may follow");
    }

    #[test]
    fn seconds_are_short() {
        assert_eq!(seconds(Duration::from_millis(1_234)), "1.23 s");
        assert_eq!(seconds(Duration::from_millis(75_390)), "75.3 s");
    }
}
