//! The supervisor, with a shell script in place of the program.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use tokio::task::LocalSet;

use super::*;

fn plan(folder: &std::path::Path, script: &str) -> Plan {
    let program = folder.join("node.sh");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Plan {
        program,
        nodes: 3,
        base_port: 7401,
        http: false,
        data: folder.to_path_buf(),
        slots: Some(2),
        secret: None,
        peer_secret: Some("nodes".into()),
        tls: false,
        restart: true,
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen");
}

fn in_local_set(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, work);
}

#[test]
fn a_dead_node_is_restarted_and_stopped_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!(
        "echo $$ >> {0}; if [ $(wc -l < {0}) -gt 1 ]; then exec sleep 1000; fi; exit 1",
        starts.display()
    );
    let plan = plan(folder.path(), &script);
    in_local_set(async {
        let (stage, seen) = watch::channel(Stage::Running);
        let kept = tokio::task::spawn_local(keep_alive(plan, 1, Log::start(), seen));
        let lines = || fs::read_to_string(&starts).unwrap_or_default();
        until("a second start", || lines().lines().count() == 2).await;
        let pid = lines().lines().last().unwrap().to_string();
        let proc = std::path::Path::new("/proc").join(pid);
        assert!(proc.exists());
        stage.send_replace(Stage::Stopping);
        kept.await.unwrap().unwrap();
        assert!(!proc.exists(), "the node outlived its supervisor");
    });
}

#[test]
fn a_node_that_ignores_sigterm_is_killed_on_the_second_request() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!(
        "trap '' TERM; echo > {}; while :; do sleep 0.05; done",
        started.display()
    );
    let plan = plan(folder.path(), &script);
    in_local_set(async {
        let (stage, seen) = watch::channel(Stage::Running);
        let begun = Instant::now();
        let kept = tokio::task::spawn_local(keep_alive(plan, 1, Log::start(), seen));
        until("the start", || started.exists()).await;
        stage.send_replace(Stage::Stopping);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!kept.is_finished(), "it ignores the first request");
        stage.send_replace(Stage::Killing);
        kept.await.unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_millis(STOP_GRACE_MS));
    });
}

#[test]
fn without_restart_a_dead_node_stays_dead() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let mut plan = plan(folder.path(), &format!("echo >> {}", starts.display()));
    plan.restart = false;
    in_local_set(async {
        let (_stage, seen) = watch::channel(Stage::Running);
        keep_alive(plan, 1, Log::start(), seen).await.unwrap();
        assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 1);
    });
}

#[test]
fn a_node_that_was_removed_is_not_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let plan = plan(
        folder.path(),
        &format!("echo >> {}; exit 7", starts.display()),
    );
    in_local_set(async {
        let (_stage, seen) = watch::channel(Stage::Running);
        keep_alive(plan, 1, Log::start(), seen).await.unwrap();
        assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 1);
    });
}

#[test]
fn a_node_that_refuses_its_settings_ends_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), "echo 'error: bad-config' >&2; exit 2");
    in_local_set(async {
        let ended = tokio::time::timeout(Duration::from_secs(20), supervise(plan)).await;
        let error = ended.expect("it is not restarted for ever").unwrap_err();
        assert_eq!(
            (error.kind(), error.exit_code()),
            ("bad-config", exit::USAGE)
        );
    });
}

#[test]
fn nodes_get_a_secret_of_their_own_by_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!(
        "echo $REELRAFT_PEER_SECRET >{0}.new; mv {0}.new {0}; exec sleep 1000",
        seen.display()
    );
    let plan = plan(folder.path(), &script);
    in_local_set(async {
        let mut child = spawn(&plan, 1).unwrap();
        until("the node", || seen.exists()).await;
        assert_eq!(fs::read_to_string(&seen).unwrap(), "nodes\n");
        child.kill().await.unwrap();
    });
}
