//! Dependencies: they point one way, `outbox ← billing ← billing-workers ← binaries`.
//!
//! A library that knows no HTTP type can be called from any program; an engine that knows no word
//! of the product can be published. The manifests are read as `cargo metadata` reports them.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Finding;

const LIBRARIES: &[&str] = &["outbox", "billing", "billing-workers", "local-postgres"];

/// Foreign crates with a place: the crate, and the packages that may use it.
const PLACES: &[(&str, &[&str])] = &[
    ("async-nats", &["outbox"]),
    ("lettre", &["billing-workers"]),
    ("reqwest", &["billing-workers"]),
    ("axum", &["billing-api", "gateway-sim", "outbox-relay"]),
    ("hyper", &["billing-api", "billing-workers", "gateway-sim"]),
    ("hyper-rustls", &["billing-workers"]),
    (
        "hyper-util",
        &["billing-api", "billing-workers", "gateway-sim"],
    ),
];

pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    Ok(packages
        .iter()
        .flat_map(|package| check_package(package, metadata))
        .collect())
}

fn check_package(package: &Value, metadata: &Value) -> Vec<Finding> {
    let owner = text(&package["name"]);
    let root = text(&metadata["workspace_root"]);
    let manifest = text(&package["manifest_path"]);
    let path = manifest
        .strip_prefix(root)
        .unwrap_or(manifest)
        .trim_start_matches('/');
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter_map(|dependency| refusal(owner, dependency))
        .map(|advice| Finding {
            path: path.to_owned(),
            line: 1,
            rule: "dependency",
            advice,
        })
        .collect()
}

/// Why `owner` may not have this dependency, if it may not.
fn refusal(owner: &str, dependency: &Value) -> Option<String> {
    let name = text(&dependency["name"]);
    let for_tests = dependency["kind"] == "dev";
    if !dependency["path"].is_string() {
        return refused_foreign(owner, name, for_tests);
    }
    let allowed = match owner {
        "promises" => true,
        "testkit" | "chaos" => name != "xtask",
        "outbox" | "local-postgres" => for_tests && matches!(name, "local-postgres" | "testkit"),
        "billing" => name == "outbox" || (for_tests && name == "testkit"),
        // The simulator is the gateway of a site that has none configured.
        "billing-workers" => {
            matches!(
                name,
                "outbox" | "billing" | "local-postgres" | "gateway-sim"
            ) || (for_tests && name == "testkit")
        }
        // It must build while the queries of the others do not: it is what repairs them.
        "xtask" => name == "local-postgres",
        _ => LIBRARIES.contains(&name) || (for_tests && matches!(name, "testkit" | "gateway-sim")),
    };
    let kind = if for_tests { "tests of " } else { "" };
    (!allowed).then(|| format!("{kind}`{owner}` must not depend on `{name}`"))
}

fn refused_foreign(owner: &str, name: &str, for_tests: bool) -> Option<String> {
    if for_tests || matches!(owner, "testkit" | "promises" | "chaos") {
        return None;
    }
    if name == "anyhow" && LIBRARIES.contains(&owner) {
        return Some(format!(
            "`{owner}` is a library: a `thiserror` enum instead of `anyhow`"
        ));
    }
    let (_, owners) = PLACES.iter().find(|(place, _)| *place == name)?;
    let advice = format!("`{name}` belongs into {} only", owners.join(", "));
    (!owners.contains(&owner)).then_some(advice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(owner: &str, name: &str, kind: Option<&str>, ours: bool) -> bool {
        let path = ours.then(|| format!("/w/crates/{name}"));
        let dependency = json!({ "name": name, "kind": kind, "path": path });
        let package = json!({
            "name": owner,
            "manifest_path": format!("/w/crates/{owner}/Cargo.toml"),
            "dependencies": [dependency],
        });
        let metadata = json!({ "workspace_root": "/w", "packages": [package] });
        !check(&metadata).unwrap().is_empty()
    }

    #[test]
    fn our_own_crates_point_one_way() {
        assert!(refused("outbox", "billing", None, true));
        assert!(refused("billing", "billing-workers", None, true));
        assert!(refused("month-close", "outbox-relay", None, true));
        assert!(refused("xtask", "billing", None, true));

        assert!(!refused("billing", "outbox", None, true));
        assert!(!refused("billing-api", "billing-workers", None, true));
        assert!(!refused("billing-workers", "gateway-sim", None, true));
        assert!(refused("billing", "gateway-sim", None, true));
        assert!(!refused("xtask", "local-postgres", None, true));
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert!(refused("billing", "testkit", None, true));
        assert!(!refused("billing", "testkit", Some("dev"), true));
        assert!(!refused("promises", "testkit", None, true));
    }

    #[test]
    fn a_foreign_crate_stays_in_its_place() {
        assert!(refused("billing", "anyhow", None, false));
        assert!(refused("billing", "reqwest", None, false));
        assert!(refused("billing-workers", "async-nats", None, false));

        assert!(!refused("billing-api", "axum", None, false));
        assert!(!refused("month-close", "anyhow", None, false));
        assert!(!refused("billing", "anyhow", Some("dev"), false));
    }

    #[test]
    fn a_finding_names_the_manifest() {
        let metadata = json!({ "workspace_root": "/w", "packages": [{
            "name": "outbox",
            "manifest_path": "/w/crates/outbox/Cargo.toml",
            "dependencies": [{ "name": "billing", "kind": null, "path": "/w/crates/billing" }],
        }]});

        let findings = check(&metadata).unwrap();

        assert_eq!(
            findings[0].to_string(),
            "crates/outbox/Cargo.toml:1: dependency: `outbox` must not depend on `billing`"
        );
    }
}
