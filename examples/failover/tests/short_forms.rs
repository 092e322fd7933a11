//! The short form of each failover experiment, run as the program that it is:
//! a broken promise fails the test. The long forms, with the figures, are run
//! by hand (`make failover`).
#![allow(clippy::unwrap_used)]

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use reelraft_harness::tail;

/// Experiments that keep every core busy by themselves run one at a time.
static BUSY: Mutex<()> = Mutex::new(());

/// Experiments that mostly wait also run one at a time, beside a busy one.
static CALM: Mutex<()> = Mutex::new(());

/// Fixed, so that a failure can be repeated.
const SEED: &str = "7";

/// Runs an experiment's short form. It may be skipped where this machine lacks
/// what it needs.
fn holds(program: &str, lane: &Mutex<()>) {
    let _alone = lane.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(["--short", "--seed", SEED, "--svg"])
        .arg(folder.path().join("picture.svg"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program}: {}\n{}\n{}",
        output.status,
        tail(&stdout, 40),
        tail(&stderr, 40)
    );
    match stdout.lines().find(|line| line.starts_with("skipped: ")) {
        Some(line) => println!("{program} is {line}"),
        None => assert!(stdout.contains("every promise held"), "{program}: {stdout}"),
    }
}

#[test]
fn the_leader_is_killed_and_another_takes_over() {
    holds(env!("CARGO_BIN_EXE_kill_the_leader"), &BUSY);
}

#[test]
#[ignore = "long: make test-all"]
fn anything_is_killed_and_films_are_made() {
    holds(env!("CARGO_BIN_EXE_kill_anything"), &CALM);
}

#[test]
fn the_power_of_all_nodes_is_cut_and_nothing_acknowledged_is_lost() {
    holds(env!("CARGO_BIN_EXE_power_cut"), &CALM);
}

#[test]
#[ignore = "long: make test-all"]
fn a_node_is_killed_at_its_syncs_and_renames() {
    holds(env!("CARGO_BIN_EXE_kill_points"), &CALM);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn nodes_get_another_ffmpeg_one_by_one_and_no_job_is_stranded() {
    holds(env!("CARGO_BIN_EXE_rolling_upgrade"), &BUSY);
}

#[test]
#[ignore = "long: make test-all"]
fn a_node_is_stopped_and_what_it_brings_late_is_refused() {
    holds(env!("CARGO_BIN_EXE_freeze"), &BUSY);
}

#[test]
#[ignore = "long: make test-all"]
fn bytes_rot_on_one_disk_and_no_wrong_byte_is_served() {
    holds(env!("CARGO_BIN_EXE_rot"), &CALM);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn disks_stall_fail_and_fill_up_and_films_are_made() {
    holds(env!("CARGO_BIN_EXE_slow_disk"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn the_machine_is_busy_and_leaders_stay() {
    holds(env!("CARGO_BIN_EXE_busy_machine"), &BUSY);
}

#[test]
#[ignore = "long: make test-all"]
fn the_network_is_cut_and_one_side_alone_goes_on() {
    holds(env!("CARGO_BIN_EXE_partition"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn a_table_of_many_jobs_is_served_and_costs_what_it_may() {
    holds(env!("CARGO_BIN_EXE_big_table"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn one_node_after_the_other_is_rebooted_and_nothing_acknowledged_is_lost() {
    holds(env!("CARGO_BIN_EXE_rolling_reboot"), &CALM);
}

#[test]
#[ignore = "long: make test-all"]
fn clients_that_want_to_take_nodes_down_are_refused_with_a_reason() {
    holds(env!("CARGO_BIN_EXE_hostile_clients"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn http_takes_a_large_file_and_shows_jobs() {
    holds(env!("CARGO_BIN_EXE_http_figures"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn a_cluster_grows_and_shrinks_and_films_are_made() {
    holds(env!("CARGO_BIN_EXE_grow_and_shrink"), &BUSY);
}

#[test]
#[ignore = "long: by hand, see make failover"]
fn engines_behind_a_router_are_killed_and_films_are_made() {
    holds(env!("CARGO_BIN_EXE_engines"), &BUSY);
}

#[test]
#[ignore = "long: make test-all"]
fn members_come_and_go_and_nothing_acknowledged_is_lost() {
    holds(env!("CARGO_BIN_EXE_membership_storm"), &CALM);
}
