//! The failpoints of the product: those that are known, and those that a run reached.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `failpoints.txt`: a line for each in the source, which `cargo xtask tidy` compares.
const REGISTRY: &str = include_str!("../failpoints.txt");

/// All, by name.
pub(crate) fn known() -> Vec<&'static str> {
    entries().map(|(name, _)| name).collect()
}

/// Those that every run comes to that has what they need, with what that is.
pub(crate) fn singly() -> Vec<(&'static str, &'static str)> {
    let entries = entries().filter(|(_, by)| matches!(*by, "close" | "nats" | "orders"));
    entries.collect()
}

/// Those that a schedule may come to, by whether it is over NATS and whether it has orders.
pub(crate) fn within(nats: bool, orders: bool) -> Vec<&'static str> {
    let entries = entries().filter(|(_, by)| match *by {
        "nats" => nats,
        "orders" => orders,
        _ => true,
    });
    entries.map(|(name, _)| name).collect()
}

/// The names, each with what comes to it.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = REGISTRY.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, by)| (name, by.trim()))
}

/// Those that some process came to.
pub(crate) fn reached(folder: &Path) -> BTreeSet<String> {
    names(&folder.join("reached"))
}

/// Those that fired, as `name@hit`.
pub(crate) fn fired(folder: &Path) -> BTreeSet<String> {
    names(&folder.join("fired"))
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
