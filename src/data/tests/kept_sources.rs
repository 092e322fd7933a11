//! The source of a job that may be tried again leaves a node that drains.

use reelraft_model::{
    CancelJob, HomeFilled, RegisterNode,
    home_rules::{FillDuty, must_fill},
    limits::FEATURE_LEVEL,
};

use super::*;

#[tokio::test]
async fn a_new_home_copies_a_source_that_is_only_kept() {
    let nodes = ThreeNodes::start().await;
    let register = |node| {
        Command::RegisterNode(RegisterNode {
            node,
            feature_level: FEATURE_LEVEL,
            ..Default::default()
        })
    };
    nodes.shared.apply((1..=3).map(register).collect());
    let source = content(2 * CHUNK_BYTES + 9);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    nodes.upload(1, &job, &source).await.unwrap();
    nodes.shared.apply(vec![Command::CancelJob(CancelJob {
        job: job.clone(),
        unix_ms: 0,
    })]);
    assert!(nodes.entry(&job).job.keeps_source());

    nodes.set_homes(&job, &[1, 3]);
    let entry = nodes.entry(&job);
    assert_eq!(must_fill(&entry, 1), None);
    assert_eq!(must_fill(&entry, 3), Some(FillDuty::BecomeWhole));
    nodes.data(3).fill(&entry, false).await.unwrap();
    nodes.shared.apply(vec![Command::HomeFilled(HomeFilled {
        job: job.clone(),
        epoch: entry.job.epoch,
        node: 3,
        index_hash: Some(entry.job.index_hash.clone()),
    })]);
    let homes: Vec<u64> = nodes
        .entry(&job)
        .job
        .homes
        .iter()
        .map(|it| it.node)
        .collect();
    assert_eq!(homes, [1, 3]);
    for part in source.chunks(CHUNK_BYTES) {
        nodes.data(3).store().verify(&job, &hex(part)).unwrap();
    }
    nodes
        .data(3)
        .store()
        .verify(&job, &entry.job.manifest)
        .unwrap();
}
