//! What was found when an output was compared with its source: no film waits for it.

use reelraft_model::{JobState, Measurement};

use super::*;

#[tokio::test]
async fn a_film_is_filled_without_what_was_found_of_it() {
    let nodes = ThreeNodes::start().await;
    let job = nodes.job(6, &[1, 2]);
    nodes.upload(1, &job, b"source").await.unwrap();
    let (first, mut stored) = (nodes.data(1), Vec::new());
    for blob in [&b"index"[..], b"output", b"proof", b"found"] {
        stored.push(first.put_bytes(&job, blob.to_vec()).await.unwrap());
    }
    nodes.set_homes(&job, &[2, 3]);
    let mut entry = JobEntry::clone(&nodes.entry(&job));
    entry.job.state = JobState::Succeeded.into();
    entry.job.index_hash = stored[0].clone();
    entry.job.output_hash = stored[1].clone();
    entry.job.proof_hash = stored[2].clone();
    entry.job.measurement = Some(Measurement {
        parts: vec![hex(b"never"), stored[3].clone()],
        ..Default::default()
    });
    let data = nodes.data(3);
    assert!(data.fill(&entry, false).await.unwrap().is_some());
    for blob in &stored {
        assert!(data.store().has(&job, blob).unwrap());
    }
    // The film itself is waited for.
    for node in 1..=3 {
        let _ = nodes.data(node).store().remove(&job, &stored[1]);
    }
    assert!(data.fill(&entry, false).await.is_err());
}
