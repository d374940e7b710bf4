//! Carrying out what a plan says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use testkit::Trouble;

use crate::house::House;
use crate::plan::Fault;
use crate::running::Running;
use crate::site::Site;

/// Does it, and says whether there was anybody to do it to.
pub(crate) async fn carry_out(fault: &Fault, house: &House, site: &mut Site) -> Result<bool> {
    match fault {
        Fault::Kill(who) => {
            let Some(process) = found(site, who) else {
                return Ok(false);
            };
            process.kill().await?;
        }
        Fault::Freeze(who, millis) => {
            let Some(process) = found(site, who) else {
                return Ok(false);
            };
            process.freeze();
            outbox::clock::pause(Duration::from_millis(*millis)).await;
            site.look_after()?;
            if let Some(process) = found(site, who) {
                process.thaw();
            }
        }
        Fault::Stop(who) => {
            let Some(process) = found(site, who) else {
                return Ok(false);
            };
            process.ask_to_stop();
        }
        Fault::Backend => return Ok(kill_a_backend(site).await),
        Fault::Server => return kill_the_server(house),
        Fault::Sessions => {
            let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()
                    and application_name like 'billing%'";
            // The server may be away already.
            return Ok(sqlx::query(end).execute(&site.pool).await.is_ok());
        }
        Fault::Twice => site.close()?,
        Fault::Network(link, trouble, millis) => {
            let begun = site
                .links
                .begin(link, *trouble, Duration::from_millis(*millis));
            // One that is lost is counted when it was.
            return Ok(begun && *trouble != Trouble::LostAck);
        }
        // It lies in wait since the beginning, and is counted when it fired.
        Fault::Point(..) => return Ok(false),
    }
    Ok(true)
}

fn found<'a>(site: &'a mut Site, who: &str) -> Option<&'a mut Running> {
    let mut processes = site.processes.iter_mut();
    processes.find(|process| process.name().starts_with(who))
}

async fn kill_a_backend(site: &Site) -> bool {
    let pid = "select pid from pg_stat_activity
        where datname = current_database() and application_name like 'billing%'
        order by state = 'active' desc, xact_start is not null desc limit 1";
    let pid = sqlx::query_scalar::<_, i32>(pid)
        .fetch_one(&site.pool)
        .await;
    let pid = pid.ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

fn kill_the_server(house: &House) -> Result<bool> {
    let file = house.data_dir.join("postgres/cluster/postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Ok(false);
    };
    let first = text.lines().next().unwrap_or_default().trim().parse();
    let pid = Pid::from_raw(first.context("the server's pid cannot be read")?);
    Ok(pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()))
}
