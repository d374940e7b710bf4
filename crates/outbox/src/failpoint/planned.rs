//! What is planned for the failpoints of this process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How often a barrier is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The folder with the plan; nothing is planned for a program without one.
static HOME: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("FAILPOINTS").map(PathBuf::from));
static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

/// What happens at a failpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
    Delay(Duration),
    Hang,
    Barrier(String),
}

/// A line of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Planned {
    point: String,
    action: Action,
    /// The nth time only.
    hit: Option<u64>,
}

#[derive(Default)]
struct State {
    /// When the plan was written that was read last, and how long it was.
    read: Option<(SystemTime, u64)>,
    plan: Vec<Planned>,
    hits: HashMap<&'static str, u64>,
}

/// Comes to the failpoint `name`; see [`crate::failpoint!`].
///
/// # Errors
/// If that is planned.
///
/// # Panics
/// When the plan cannot be read: a mistake in it must not pass for a program that holds.
pub async fn reach(name: &'static str) -> Result<(), sqlx::Error> {
    let Some(home) = HOME.as_deref() else {
        return Ok(());
    };
    let Some(action) = planned(home, name) else {
        return Ok(());
    };
    tracing::warn!("Failing on purpose at {name}: {action:?}");
    match action {
        Action::Kill => std::process::abort(),
        Action::Error => {
            let told = format!("failed on purpose at {name}");
            Err(sqlx::Error::Io(io::Error::other(told)))
        }
        Action::Delay(time) => {
            crate::clock::pause(time).await;
            Ok(())
        }
        Action::Hang => std::future::pending().await,
        Action::Barrier(barrier) => {
            mark(home, "waiting", &barrier);
            while !home.join("open").join(&barrier).exists() {
                crate::clock::pause(LOOK).await;
            }
            Ok(())
        }
    }
}

fn planned(home: &Path, name: &'static str) -> Option<Action> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let hit = state.hits.entry(name).or_default();
    *hit += 1;
    let hit = *hit;
    if hit == 1 {
        mark(home, "reached", name);
    }
    state.read_again(home);
    let mut lines = state.plan.iter().filter(|line| line.point == name);
    let line = lines.find(|line| match line.hit {
        None => true,
        Some(nth) => nth == hit && mark(home, "fired", &format!("{name}@{nth}")),
    })?;
    Some(line.action.clone())
}

impl State {
    fn read_again(&mut self, home: &Path) {
        let file = home.join("plan");
        let stamp = fs::metadata(&file).and_then(|of| Ok((of.modified()?, of.len())));
        let Ok(stamp) = stamp else {
            self.read = None;
            self.plan.clear();
            return;
        };
        if self.read.replace(stamp) != Some(stamp) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            self.plan = lines
                .map(|line| {
                    let line_is_read = "a line of the plan is `name action[@n]`";
                    parse(line).unwrap_or_else(|| panic!("{line:?}: {line_is_read}"))
                })
                .collect();
        }
    }
}

fn parse(line: &str) -> Option<Planned> {
    let (point, action) = line.split_once(' ')?;
    let (action, hit) = match action.split_once('@') {
        Some((action, hit)) => (action, Some(hit.parse().ok()?)),
        None => (action, None),
    };
    let argument = |name: &str| {
        let rest = action.strip_prefix(name)?.strip_prefix('(')?;
        rest.strip_suffix(')')
    };
    let action = match action {
        "kill" => Action::Kill,
        "error" => Action::Error,
        "hang" => Action::Hang,
        _ => match argument("delay") {
            Some(millis) => Action::Delay(Duration::from_millis(millis.parse().ok()?)),
            None => Action::Barrier(argument("barrier")?.to_owned()),
        },
    };
    let point = point.to_owned();
    Some(Planned { point, action, hit })
}

/// Leaves a file, and says whether this was the first to.
fn mark(home: &Path, folder: &str, name: &str) -> bool {
    let folder = home.join(folder);
    fs::create_dir_all(&folder).is_ok() && File::create_new(folder.join(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_point_an_action_and_perhaps_a_hit() {
        let planned = |line| parse(line).unwrap();
        let line = planned("relay.before_cut kill@2");
        assert_eq!((line.action, line.hit), (Action::Kill, Some(2)));
        let line = planned("payment.departed delay(20)");
        let millis = Duration::from_millis(20);
        assert_eq!((line.action, line.hit), (Action::Delay(millis), None));
        let line = planned("close.chunk barrier(here)@1");
        let here = Action::Barrier("here".to_owned());
        assert_eq!((line.action, line.hit), (here, Some(1)));
        for line in [
            "",
            "relay",
            "relay explode",
            "relay delay(x)",
            "relay kill@x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
