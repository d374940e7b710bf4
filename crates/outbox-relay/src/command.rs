//! What an operator can ask and order.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand};
use outbox::delivery::dead::Choice;
use outbox::operation::By;
use uuid::Uuid;

use crate::place::{Place, instant};

/// A century.
const DAYS_MAX: i64 = 36_500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How the log and its consumers stand
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The consumers: what they read, and how
    Consumers {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a consumer begin nothing more, in all processes
    Pause(Pause),
    /// Let a paused consumer go on
    Resume {
        /// The consumer
        name: String,
        #[command(flatten)]
        by: Signature,
    },
    /// Let a consumer read the log again from a place
    Replay(Replay),
    /// Divide a consumer's keys into another number of shards
    Reshard(Reshard),
    /// Events that a consumer gave up on
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Events that are tried again: which, why, and when next
    Retrying {
        /// Of this consumer [default: of all]
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
        /// No more than that
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: u32,
    },
    /// Let retention keep nothing more for a NATS stream that no relay fills any longer
    Forget {
        /// The stream, such as `billing_bulk`
        stream: String,
        #[command(flatten)]
        by: Signature,
    },
    /// Make a log readable that was restored from a dump into another cluster
    ///
    /// Every program that uses the original must have stopped for good.
    Rebase {
        #[command(flatten)]
        by: Signature,
    },
    /// Drop history that is old enough and that nobody needs
    Retention {
        /// How many days an event stays at least
        #[arg(long, value_name = "DAYS")]
        #[arg(value_parser = clap::value_parser!(i32).range(1..=DAYS_MAX))]
        keep: i32,
        /// Folder for the events, as compressed lines of JSON, before they go
        #[arg(long, value_name = "FOLDER", required_unless_present = "drop")]
        export: Option<PathBuf>,
        /// Let them go without
        #[arg(long, conflicts_with = "export")]
        drop: bool,
    },
    /// Follow the log as it grows
    Tail(Follow),
}

/// Who orders, and why: it is kept with the order.
#[derive(Debug, Args)]
pub(crate) struct Signature {
    /// Why; it is kept with the order
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who orders it
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    #[arg(value_name = "NAME")]
    by: String,
}

impl From<Signature> for By {
    fn from(signature: Signature) -> Self {
        Self {
            actor: signature.by,
            reason: signature.reason,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The consumer
    pub(crate) name: String,
    /// For how long, such as `30m` or `2h` [default: until it is resumed]
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) during: Option<Duration>,
    #[command(flatten)]
    pub(crate) by: Signature,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("place").args(["from", "since"]).required(true)))]
pub(crate) struct Replay {
    /// The consumer
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) by: Signature,
}

#[derive(Debug, Args)]
pub(crate) struct Reshard {
    /// The consumer
    pub(crate) name: String,
    /// How many shards there are to be: no more processes than that share the consumer
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i16).range(1..=64))]
    pub(crate) shards: i16,
    #[command(flatten)]
    pub(crate) doing: Doing,
}

#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Only events of these topics
    #[arg(long = "topic", value_name = "NAME")]
    pub(crate) topics: Vec<String>,
    /// Only events of this ordering key
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<Uuid>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Each event as a line of JSON, with its payload
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them, oldest first
    List {
        #[command(flatten)]
        which: Which,
        /// No more than that
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: u32,
    },
    /// All that is known of an event's, with its payload
    Show {
        /// The event
        event: Uuid,
    },
    /// Give them a new set of attempts
    Redrive {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        doing: Doing,
        /// How many become due in a second [default: all at once]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
    },
    /// Give them up for good, so that later events of their keys go on
    Discard {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        doing: Doing,
    },
}

/// Only say it, or do it for a reason.
#[derive(Debug, Args)]
pub(crate) struct Doing {
    /// Only say what it would change
    #[arg(long)]
    dry_run: bool,
    /// Why; it is kept with the order
    #[arg(long, value_name = "TEXT")]
    #[arg(required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Who orders it
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    #[arg(value_name = "NAME")]
    by: String,
}

impl Doing {
    /// Nothing if it is only to be said.
    pub(crate) fn by(self) -> Option<By> {
        let reason = self.reason.filter(|_| !self.dry_run)?;
        Some(By {
            actor: self.by,
            reason,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of this consumer [default: of all]
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// These events [default: all]
    #[arg(long = "event", num_args = 1.., value_name = "ID")]
    events: Vec<Uuid>,
    /// Of this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Of this ordering key
    #[arg(long, value_name = "ID")]
    key: Option<Uuid>,
    /// Whose reason contains this
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// In trouble since this instant or later, such as `2026-11-01T00:00:00Z` or `2026-11-01`
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// In trouble since before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<DateTime<Utc>>,
}

impl From<Which> for Choice {
    fn from(which: Which) -> Self {
        Self {
            consumer: which.consumer,
            events: which.events,
            topic: which.topic,
            key: which.key,
            error: which.error,
            since: which.since,
            until: which.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use outbox::LogPoint;
    use outbox::operation::Start;

    use super::*;
    use crate::args::Cli;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        Ok(cli.command.unwrap())
    }

    #[test]
    fn dead_letters_are_chosen_by_consumer_and_id() {
        let id = Uuid::nil();
        let line = format!("outbox-relay dead redrive --consumer documents --event {id} --dry-run");

        let Command::Dead(DeadCommand::Redrive { which, doing, .. }) = parse(&line).unwrap() else {
            panic!("another command");
        };

        let choice = Choice::from(which);
        assert_eq!(choice.consumer.as_deref(), Some("documents"));
        assert_eq!((choice.events, doing.by()), (vec![id], None));
    }

    #[test]
    fn what_changes_something_wants_a_reason() {
        for line in [
            "outbox-relay dead redrive",
            "outbox-relay dead discard --consumer documents",
            "outbox-relay pause documents",
            "outbox-relay resume documents",
            "outbox-relay replay documents --from 3",
            "outbox-relay reshard documents --shards 12",
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains("--reason"), "{error}");
            parse(&format!("{line} --reason tidied")).unwrap();
        }
    }

    #[test]
    fn history_goes_into_a_file_or_away_and_somebody_says_which() {
        parse("outbox-relay retention --keep 400").unwrap_err();
        parse("outbox-relay retention --keep 0 --drop").unwrap_err();
        parse("outbox-relay retention --keep 2147483647 --drop").unwrap_err();
        parse("outbox-relay retention --keep 400 --export x --drop").unwrap_err();
        parse("outbox-relay retention --keep 400 --export x").unwrap();
        parse("outbox-relay retention --keep 400 --drop").unwrap();
    }

    #[test]
    fn a_replay_starts_at_a_tick_or_an_instant() {
        let line = "outbox-relay replay documents --reason x --since 2026-11-01T00:00:00Z";
        let Command::Replay(replay) = parse(line).unwrap() else {
            panic!("another command");
        };
        assert!(matches!(replay.place.start(), Some(Start::Since(_))));
        parse(&format!("{line} --from 3")).unwrap_err();
    }

    #[test]
    fn a_replay_starts_at_an_event_as_tail_shows_its_place() {
        let line = "outbox-relay replay documents --reason x --from 3/17";
        let Command::Replay(replay) = parse(line).unwrap() else {
            panic!("another command");
        };
        let point = LogPoint { tick: 3, id: 17 };
        assert_eq!(replay.place.start(), Some(Start::Point(point)));
        for place in ["3/", "/3", "12/-3", "soon"] {
            let line = format!("outbox-relay tail --from {place}");
            let error = parse(&line).unwrap_err().to_string();
            assert!(error.contains("such as 12"), "{error}");
        }
    }

    #[test]
    fn a_replay_says_from_where() {
        let error = parse("outbox-relay replay documents --reason x").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--from"), "{error}");
    }

    #[test]
    fn shards_are_one_to_sixty_four_and_a_dry_run_needs_no_reason() {
        parse("outbox-relay reshard documents --reason x").unwrap_err();
        parse("outbox-relay reshard documents --shards 0 --dry-run").unwrap_err();
        parse("outbox-relay reshard documents --shards 65 --dry-run").unwrap_err();
        parse("outbox-relay reshard documents --shards 64 --dry-run").unwrap();
    }

    #[test]
    fn a_pause_takes_a_time_as_people_write_it() {
        let Command::Pause(pause) =
            parse("outbox-relay pause documents --for 2h30m --reason x").unwrap()
        else {
            panic!("another command");
        };
        assert_eq!(pause.during, Some(Duration::from_secs(9_000)));
    }
}
