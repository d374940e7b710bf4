//! This program in the place of the compiler, so that one `cargo check` writes the query metadata
//! of every crate to its own folder.
//!
//! The macros of sqlx write to one folder per compiler run and do not say for which crate. Cargo
//! runs a workspace wrapper for our own crates only, tells it which one is compiled, and keeps the
//! results apart from those of an ordinary build, whose dependencies it shares.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Set to the folder of the metadata while this program stands in for the compiler.
pub(crate) const OUT: &str = "XTASK_SQLX_OUT";

/// The engine can be published, and carries its metadata itself.
pub(crate) const ENGINE: &str = "outbox";

/// The metadata of every other crate lies at the root.
pub(crate) const REST: &str = "workspace";

pub(crate) fn run(out: &Path) -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let Some((rustc, arguments)) = arguments.split_first() else {
        eprintln!("xtask: {OUT} is set, but cargo gave no compiler to run; unset it");
        return ExitCode::FAILURE;
    };
    let is_engine = env::var("CARGO_PKG_NAME").is_ok_and(|package| package == ENGINE);
    let home = out.join(if is_engine { ENGINE } else { REST });

    let mut compile = Command::new(rustc);
    // Warnings are the lints' business; here they would only hide what is wrong with a query.
    compile
        .args(arguments)
        .arg("--cap-lints=allow")
        .env("SQLX_OFFLINE_DIR", home);

    match compile.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // The compiler has said why.
        Ok(_) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("xtask: could not start {}: {err}", rustc.display());
            ExitCode::FAILURE
        }
    }
}
