//! `sqlx::migrate!` does not notice a new file by itself.
//!
//! The macros of sqlx ask a database if the environment of the build names one. That of whoever
//! builds a product on this crate need not hold our schema, so they are sent to the committed
//! answers, unless `SQLX_OFFLINE` says otherwise.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE");
    if std::env::var_os("SQLX_OFFLINE").is_none() {
        println!("cargo:rustc-env=SQLX_OFFLINE=true");
    }
}
