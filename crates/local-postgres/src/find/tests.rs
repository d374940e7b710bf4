//! Which installation is taken, and what the user reads when there is none.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A folder of programs that claim to be of `version`.
fn installation(version: &str, programs: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let path = folder.path().join(program);
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Some 1)'\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn find_in(folders: &[&TempDir], written: Option<u32>) -> Result<Installation, StartError> {
    let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.path().into()).collect();
    find(&folders, Path::new("/data"), written)
}

#[test]
fn the_first_usable_version_wins() {
    let old = installation("14.2", &PROGRAMS);
    let first = installation("16.1", &PROGRAMS);
    let second = installation("17devel", &PROGRAMS);

    let found = find_in(&[&old, &first, &second], None).unwrap();

    assert_eq!(found.version, "16.1");
    assert_eq!(found.folder, fs::canonicalize(first.path()).unwrap());
}

#[test]
fn a_folder_of_client_programs_alone_is_passed_over() {
    let client = installation("17.0", &["psql", "pg_config"]);
    let half = installation("17.0", &["psql", "postgres"]);
    let whole = installation("15.0", &PROGRAMS);

    assert_eq!(find_in(&[&client, &half, &whole], None).unwrap().major, 15);
}

#[test]
fn a_cluster_is_served_by_the_version_that_wrote_it() {
    let newer = installation("17.0", &PROGRAMS);
    let same = installation("15.3", &PROGRAMS);

    assert_eq!(find_in(&[&newer, &same], Some(15)).unwrap().version, "15.3");
    let refusal = find_in(&[&newer], Some(15)).unwrap_err().to_string();
    assert!(refusal.contains("written by Postgres 15"), "{refusal}");
    assert!(refusal.contains("Postgres 17.0 in /"), "{refusal}");
}

#[test]
fn without_postgres_the_error_is_one_line_that_says_how_to_get_it() {
    let refusal = find_in(&[], None).unwrap_err().to_string();

    let command = InstallCommand::of_this_system().to_string();
    assert!(refusal.contains(&command), "{refusal}");
    assert!(refusal.contains("just setup"), "{refusal}");
    assert!(refusal.contains("BILLING_DATABASE_URL"), "{refusal}");
    assert!(!refusal.contains('\n'), "{refusal}");
}

#[test]
fn an_old_postgres_is_named_with_the_version_that_is_needed() {
    let old = installation("13.9", &PROGRAMS);

    let refusal = find_in(&[&old, &old], None).unwrap_err().to_string();

    assert!(refusal.contains("Postgres 15 or newer"), "{refusal}");
    assert_eq!(
        refusal.matches("Postgres 13.9 in /").count(),
        1,
        "{refusal}"
    );
}

#[test]
fn each_system_gets_its_own_command() {
    let of = |text: &str| InstallCommand::of(text).to_string();

    assert_eq!(of("NAME=x\nID=debian\n"), "apt-get install postgresql");
    assert_eq!(
        of("ID=pop\nID_LIKE=\"ubuntu debian\"\n"),
        "apt-get install postgresql"
    );
    assert_eq!(
        of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"),
        "dnf install postgresql-server"
    );
    assert_eq!(of("ID=alpine\n"), "apk add postgresql postgresql-client");
    assert_eq!(of("ID=arch\n"), "pacman -S postgresql");
    assert!(of("").contains("https://www.postgresql.org"));
}
