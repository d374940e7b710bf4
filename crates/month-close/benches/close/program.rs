//! The program under measure, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

/// `month-close` in a folder, for a month.
pub(crate) struct Program {
    data_dir: PathBuf,
    month: String,
}

impl Program {
    pub(crate) fn new(data_dir: &Path, month: &str) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            month: month.to_owned(),
        }
    }

    /// Runs it, passes on what it says for people, shows each line of it to `heard`, and answers
    /// what it prints for machines.
    pub(crate) async fn run(
        &self,
        arguments: &[String],
        mut heard: impl AsyncFnMut(&str) -> Result<()>,
    ) -> Result<Value> {
        eprintln!(
            "\nmonth-close --period {} {}",
            self.month,
            arguments.join(" ")
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_month-close"))
            .args(["--json", "--period", &self.month, "--data-dir"])
            .arg(&self.data_dir)
            .args(arguments)
            .env_remove("BILLING_DATABASE_URL")
            .env_remove("BILLING_GATEWAY_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start month-close")?;
        let said = child.stderr.take().context("it says nothing")?;
        let mut said = BufReader::new(said).lines();
        while let Some(line) = said.next_line().await? {
            eprintln!("{line}");
            heard(&line).await?;
        }
        // One line at the very end: it fits into the pipe.
        let mut printed = String::new();
        let mut stdout = child.stdout.take().context("it prints nothing")?;
        stdout.read_to_string(&mut printed).await?;
        let status = child.wait().await?;
        if printed.is_empty() {
            bail!("month-close ended with {status} and printed nothing");
        }
        serde_json::from_str(&printed).context("month-close printed something else than JSON")
    }
}
