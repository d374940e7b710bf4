//! The run: import, generate, settle, check, say.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use billing::month_close::{self, Closed, Options, RunError, StartError, State};
use billing::report::{self, Collection};
use billing_workers::gateways::{self, GatewayConfig};
use billing_workers::site::Site;
use billing_workers::{MailConfig, MailSink, WorkersConfig, write_report};
use chrono::{DateTime, Months, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use outbox::{Mark, Origin, Relay, Rest, Since};
use sqlx::PgPool;

use crate::args::Cli;
use crate::checks::Books;
use crate::import::Imported;
use crate::progress::Stage;
use crate::settle;
use crate::summary::{self, Summary, Times};
use crate::{BadInput, Verdict, checks, import, is_bad_input};

/// `month-close`.
pub(crate) async fn run(site: &Site, cli: &Cli) -> Result<Verdict> {
    let began = Instant::now();
    eprintln!("database  {}", site.database());
    refuse_future(cli.close.as_of)?;
    if cli.close.import_only {
        return import_only(site, cli).await.map_err(advised);
    }
    let mut summary = if cli.close.dry_run {
        dry(site, cli).await?
    } else {
        close(site, cli).await.map_err(advised)?
    };
    summary.times.total = began.elapsed();
    summary.print();
    if cli.site.json {
        println!("{}", summary.json());
    }
    Ok(summary.verdict())
}

/// Whatever broke on the way, nothing is lost by it; whoever reads the error wants to know.
fn advised(error: anyhow::Error) -> anyhow::Error {
    const AGAIN: &str = "run again to go on";
    let is_said = error.chain().any(|cause| cause.to_string().contains(AGAIN));
    if is_said || is_bad_input(&error) {
        return error;
    }
    error.context(format!("the run stopped; {AGAIN}"))
}

async fn import_only(site: &Site, cli: &Cli) -> Result<Verdict> {
    let Some(source) = import::source(site.outbox(), &cli.close).await? else {
        let text = "nothing to import: name a file with --usage FILE, or a --sample";
        return Err(BadInput(text.to_owned()).into());
    };
    let imported = import::run(site.outbox(), &source, &cli.close, &origin()).await?;
    publish(site).await?;
    if cli.site.json {
        println!("{}", summary::imported(&imported));
    }
    Ok(Verdict::Clean)
}

/// What was imported gets a tick of its own, which whoever handles the close goes past.
async fn publish(site: &Site) -> Result<()> {
    Relay::new(site.outbox().clone()).catch_up().await?;
    Ok(())
}

async fn close(site: &Site, cli: &Cli) -> Result<Summary> {
    let (pool, origin) = (site.pool(), origin());
    settle::register(pool).await?;
    let mark = Mark::now(pool).await?;
    let mut times = Times::default();
    let source = import::source(site.outbox(), &cli.close).await?;
    let imported = match &source {
        Some(source) => import::run(site.outbox(), source, &cli.close, &origin).await?,
        None => Imported::default(),
    };
    times.import = imported.took;
    if source.is_some() && !cli.close.no_workers {
        publish(site).await?;
    }
    let asked = source.and_then(|source| source.month());
    let month = which_month(site, asked.or(cli.close.period)).await?;
    refuse_early(cli.close.as_of, month)?;
    let (closed, was_closed, took) = generate(site, cli, month, origin).await?;
    times.generate = took;
    let (rest, books, took) = settle(site, cli).await?;
    times.settle = took;
    let run = month_close::run_of(pool, month)
        .await?
        .unwrap_or(closed.run);
    // Again, though whoever settled the run has written it: a charge whose answer was lost may have
    // been found since.
    let report = write_report(pool, run.month, &site.reports_dir()).await?;
    // Counted again: payments have moved invoices since they were generated.
    let figures = month_close::figures(pool, month).await?;
    let by_account = if cli.close.by_account {
        Some(month_close::by_account(pool, month).await?)
    } else {
        None
    };
    let began = Instant::now();
    let checks = checks::all(pool, books).await?;
    times.checks = began.elapsed();
    Ok(Summary {
        run,
        figures,
        was_closed,
        dry: false,
        collection: report::collection(pool, month).await?,
        events: mark.since(pool).await?,
        rest,
        times,
        checks,
        earlier: earlier(pool, month).await?,
        sampled: imported.sampled,
        documents: (!cli.close.no_workers).then(|| site.documents_dir()),
        mail: (!cli.close.no_workers)
            .then(|| where_mail_went(site, cli))
            .transpose()?,
        report: Some(report),
        by_account,
    })
}

/// The oldest month before this one that has ended, is open and has something to bill.
async fn earlier(pool: &PgPool, month: NaiveDate) -> Result<Option<NaiveDate>> {
    let next = month_close::next_month(pool, outbox::clock::now()).await?;
    Ok(next.filter(|next| *next < month))
}

/// Everything in one transaction, rolled back at the end. While it runs it holds the locks that the
/// close takes.
async fn dry(site: &Site, cli: &Cli) -> Result<Summary> {
    let now = outbox::clock::now();
    let source = import::source(site.outbox(), &cli.close).await?;
    let mut tx = site.outbox().begin(origin()).await?;
    let began = Instant::now();
    if let Some(source) = &source {
        import::within(&mut tx, source, &cli.close, now).await?;
    }
    let mut times = Times {
        import: began.elapsed(),
        ..Times::default()
    };
    let asked = source.and_then(|source| source.month());
    let month = match asked.or(cli.close.period) {
        Some(month) => month,
        None => month_close::next_month_in(&mut tx, now)
            .await?
            .ok_or_else(nothing_to_bill)?,
    };
    refuse_early(cli.close.as_of, month)?;
    let stage = Stage::begin("generate", "accounts");
    let options = options(cli, month, origin());
    let closed = month_close::dry_run(&mut tx, &options)
        .await
        .map_err(blame)?;
    let by_account = if cli.close.by_account {
        Some(month_close::by_account_in(&mut tx, month).await?)
    } else {
        None
    };
    times.generate = stage.end(&outcome(&closed));
    tx.rollback().await?;
    Ok(Summary {
        run: closed.run,
        figures: closed.figures,
        was_closed: false,
        dry: true,
        collection: Collection::default(),
        events: Since::default(),
        rest: Rest::default(),
        times,
        checks: Vec::new(),
        earlier: None,
        sampled: None,
        documents: None,
        mail: None,
        report: None,
        by_account,
    })
}

/// The month that was asked for, the oldest that can be billed, or the last that was closed.
async fn which_month(site: &Site, period: Option<NaiveDate>) -> Result<NaiveDate> {
    if let Some(month) = period {
        return Ok(month);
    }
    if let Some(month) = month_close::next_month(site.pool(), outbox::clock::now()).await? {
        return Ok(month);
    }
    month_close::last_month(site.pool())
        .await?
        .ok_or_else(nothing_to_bill)
}

/// Before anything is imported: nobody knows yet what the figures of a later instant are.
fn refuse_future(as_of: Option<DateTime<Utc>>) -> Result<()> {
    let now = outbox::clock::now();
    if as_of.is_some_and(|as_of| as_of > now) {
        let now = written(now);
        let text =
            format!("--as-of is in the future: name an instant that has passed by now, {now}");
        return Err(BadInput(text).into());
    }
    Ok(())
}

/// Figures of an instant before the month's end would leave out a part of it.
fn refuse_early(as_of: Option<DateTime<Utc>>, month: NaiveDate) -> Result<()> {
    let end = end_of(month);
    if as_of.is_some_and(|as_of| as_of < end) {
        let month = month.format("%Y-%m");
        let end = written(end);
        let text = format!("--as-of is before the end of {month}: name {end} or later");
        return Err(BadInput(text).into());
    }
    Ok(())
}

fn nothing_to_bill() -> anyhow::Error {
    let text = "nothing to bill: no month with usage has ended. \
                Import usage with --usage FILE, or name a month with --period YYYY-MM";
    BadInput(text.to_owned()).into()
}

async fn generate(
    site: &Site,
    cli: &Cli,
    month: NaiveDate,
    origin: Origin,
) -> Result<(Closed, bool, Duration)> {
    let stage = Stage::begin("generate", "accounts");
    let show = |at: month_close::Progress| stage.at(at.done, at.total);
    let closed = month_close::run(site.outbox(), &options(cli, month, origin), &show)
        .await
        .map_err(blame)?;
    if cli
        .close
        .as_of
        .is_some_and(|asked| asked != closed.run.as_of)
    {
        eprintln!("as of     the month's first run named another instant, which stays");
    }
    let was_closed = closed.run.state == State::Closed && closed.done.periods() == 0;
    let outcome = outcome(&closed);
    Ok((closed, was_closed, stage.end(&outcome)))
}

/// The gateways' books are compared while they are open.
async fn settle(site: &Site, cli: &Cli) -> Result<(Rest, Books, Duration)> {
    if cli.close.no_workers {
        return Ok((Rest::default(), Books::new(), Duration::ZERO));
    }
    let stage = Stage::begin("settle", "events");
    let gateways = gateways::open(&GatewayConfig::from_variables(site.data_dir())?).await?;
    let config = WorkersConfig {
        documents_dir: site.documents_dir(),
        reports_dir: site.reports_dir(),
        gateways: gateways.gateways().clone(),
        mail: mail(site, cli)?,
        outbox: site.outbox().clone(),
    };
    let rest = settle::until_drained(site.outbox(), &config, &stage)
        .await
        .context("the events were not handled; run again to go on")?;
    let took = stage.end(&match rest.waiting {
        0 => "every event is published and handled".to_owned(),
        waiting => format!("every event is published, and handled but for {waiting}"),
    });
    let stage = Stage::begin("compare", "movements");
    let books = checks::books(site.pool(), gateways.gateways()).await?;
    gateways.close().await;
    stage.end("our books with the gateways'");
    Ok((rest, books, took))
}

fn mail(site: &Site, cli: &Cli) -> Result<MailConfig> {
    let config = MailConfig::from_variables(site.data_dir())?;
    Ok(match cli.close.count_mail {
        true => MailConfig {
            sink: MailSink::Count,
            ..config
        },
        false => config,
    })
}

fn where_mail_went(site: &Site, cli: &Cli) -> Result<String> {
    Ok(match mail(site, cli)?.sink {
        MailSink::Folder(path) => path.display().to_string(),
        MailSink::Smtp(_) => "the server of BILLING_SMTP_URL".to_owned(),
        MailSink::Count => "counted only".to_owned(),
    })
}

fn options(cli: &Cli, month: NaiveDate, origin: Origin) -> Options {
    let as_of = cli.close.as_of.unwrap_or_else(|| end_of(month));
    Options {
        chunk: cli.close.chunk,
        parallel: cli.close.parallel,
        settled_by: settle::names(),
        ..Options::new(month, as_of, outbox::clock::now(), origin)
    }
}

fn end_of(month: NaiveDate) -> DateTime<Utc> {
    let next = month.checked_add_months(Months::new(1)).unwrap_or(month);
    next.and_time(NaiveTime::MIN).and_utc()
}

/// Nowhere on earth has the month ended, though it ends earlier in the east than in UTC.
pub(crate) fn refuse_not_ended(month: NaiveDate) -> Result<()> {
    const FIRST_ZONE: TimeDelta = TimeDelta::hours(14);
    if end_of(month) - FIRST_ZONE > outbox::clock::now() {
        return Err(not_ended(month));
    }
    Ok(())
}

fn not_ended(month: NaiveDate) -> anyhow::Error {
    let (month, end) = (month.format("%Y-%m"), written(end_of(month)));
    BadInput(format!("{month} has not ended: close it after {end}")).into()
}

fn written(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn outcome(closed: &Closed) -> String {
    let done = &closed.done;
    format!(
        "{} accounts: {} invoices, {} lines",
        done.periods(),
        done.invoices,
        done.lines
    )
}

fn origin() -> Origin {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let actor = user.map_or_else(
        |_| "month-close".to_owned(),
        |user| format!("month-close {user}"),
    );
    Origin::of(actor).bulk().because("month close")
}

/// A month that cannot be closed was the caller's mistake.
fn blame(error: RunError) -> anyhow::Error {
    match error {
        RunError::Start(StartError::NothingThere(month))
            if end_of(month) > outbox::clock::now() =>
        {
            not_ended(month)
        }
        RunError::Start(error @ (StartError::NothingThere(_) | StartError::NotOver { .. })) => {
            BadInput(error.to_string()).into()
        }
        other => anyhow::Error::new(other).context("the close stopped; run again to go on"),
    }
}
