//! The short form of each failover experiment, run as the program that it is:
//! whatever promise it finds broken fails the test. Their long forms, with the
//! figures, are run by hand (`make failover`).
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

/// One at a time of those that keep every core busy by themselves.
static BUSY: Mutex<()> = Mutex::new(());

/// One at a time of those that mostly wait, beside one of the others.
static CALM: Mutex<()> = Mutex::new(());

/// Fixed, so that a failure can be met again.
const SEED: &str = "7";

/// Runs an experiment's short form; says so where this machine lacks what it
/// needs.
fn holds(name: &str, lane: &Mutex<()>) {
    let _alone = lane.lock().unwrap_or_else(PoisonError::into_inner);
    let program = reelraft_harness::binary()
        .with_file_name("examples")
        .join(name);
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(&program)
        .args(["--short", "--seed", SEED, "--svg"])
        .arg(folder.path().join("picture.svg"))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{}\n{}",
        output.status,
        reelraft_harness::tail(&said, 40),
        reelraft_harness::tail(&problems, 40)
    );
    match said.lines().find(|line| line.starts_with("skipped: ")) {
        Some(line) => println!("{name} is {line}"),
        None => assert!(said.contains("every promise held"), "{name}: {said}"),
    }
}

#[test]
fn the_leader_is_killed_and_another_takes_over() {
    holds("kill_the_leader", &BUSY);
}

#[test]
fn anything_is_killed_and_films_are_made() {
    holds("kill_anything", &CALM);
}

#[test]
fn the_power_of_all_nodes_is_cut_and_nothing_acknowledged_is_lost() {
    holds("power_cut", &CALM);
}

#[test]
fn a_node_is_killed_at_its_syncs_and_renames() {
    holds("kill_points", &CALM);
}

#[test]
fn a_node_is_stopped_and_what_it_brings_late_is_refused() {
    holds("freeze", &BUSY);
}

#[test]
fn bytes_rot_on_one_disk_and_none_is_served() {
    holds("rot", &CALM);
}

#[test]
fn disks_stall_fail_and_fill_up_and_films_are_made() {
    holds("slow_disk", &BUSY);
}

#[test]
fn the_network_is_cut_and_one_side_alone_goes_on() {
    holds("partition", &BUSY);
}
