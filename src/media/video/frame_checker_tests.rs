//! Lines of ffmpeg as they come, and what the checker makes of them.

use super::*;
use crate::{
    facts::{index::tests::sample, plan::ShardRange},
    ffmpeg::log::reject_if_strict,
};
use reelraft_model::spec::{SpecRequest, resolve};

fn shown(filter: &str, pts: i64) -> String {
    format!("[showinfo@{filter} @ 0x5] [info] n: 0 pts: {pts} fmt:yuv420p s:1280x720 i:P")
}

/// Checks [60, 100) of the sample, decoded from 50 on.
fn checker(index: &Index) -> FrameChecker<'_> {
    let spec = resolve(&SpecRequest::default()).unwrap();
    let range = index.shards()[1];
    let bounds = index.bounds(range);
    let expected = ExpectedFrames {
        decoded: index.times_in(range).to_vec(),
        points: None,
        ends_after: None,
        start: Some(50),
    };
    let mut checker =
        FrameChecker::new(index, &spec, &|_| {}).expecting(expected, 0, bounds, bounds, bounds);
    checker.stderr("[info] Stream mapping:").unwrap();
    checker
}

const COMPLAINT: &str = "[h264 @ 0x5] [error] concealing 40 errors";

#[test]
fn every_frame_is_compared_with_the_expected_ones() {
    let index = sample();
    let mut whole = checker(&index);
    assert_eq!(whole.stderr(COMPLAINT).unwrap(), LineEffect::Neutral);
    for pts in 50..100 {
        assert_eq!(
            whole.stderr(&shown("decoded", pts)).unwrap(),
            LineEffect::Progress
        );
    }
    assert_eq!(whole.find_mismatch(), None);
    assert_eq!(
        (
            whole.lead_in,
            whole.decoded,
            whole.complaints.verdict().total
        ),
        (10, 40, 0)
    );

    let mut short = checker(&index);
    for pts in 50..99 {
        short.stderr(&shown("decoded", pts)).unwrap();
    }
    assert!(short.find_mismatch().unwrap().contains("39 decoded"));

    let mut skipping = checker(&index);
    skipping.stderr(&shown("decoded", 60)).unwrap();
    assert_eq!(
        skipping.stderr(&shown("decoded", 62)).unwrap(),
        LineEffect::Stop
    );
}

#[test]
fn a_picture_of_another_size_behind_the_shard_is_noticed() {
    let index = sample();
    let mut checker = checker(&index);
    for pts in 60..100 {
        checker.stderr(&shown("decoded", pts)).unwrap();
    }
    let larger = shown("decoded", 100).replace("1280x720", "1920x1080");
    assert_eq!(checker.stderr(&larger).unwrap(), LineEffect::Stop);
    assert!(checker.find_mismatch().unwrap().contains("size"));
}

#[test]
fn frames_lost_by_filters_are_noticed() {
    let index = sample();
    let mut checker = checker(&index);
    for pts in 60..100 {
        checker.stderr(&shown("decoded", pts)).unwrap();
        if pts != 77 {
            checker.stderr(&shown("filtered", pts)).unwrap();
        }
    }
    assert!(checker.find_mismatch().unwrap().contains("lost"));
}

/// Checks [0, 60) of the sample, whose encoder is given five more frames.
#[test]
fn ffmpeg_is_ended_when_the_next_shard_begins_and_all_is_seen() {
    let index = sample();
    let spec = resolve(&SpecRequest::default()).unwrap();
    let progress = std::sync::atomic::AtomicU64::new(0);
    let notice = |frames| progress.store(frames, std::sync::atomic::Ordering::Relaxed);
    let range = index.shards()[0];
    let given = ShardRange {
        to_pts: 65,
        ..range
    };
    let expected = ExpectedFrames {
        decoded: index.times_in(given).to_vec(),
        points: None,
        ends_after: Some(60),
        start: None,
    };
    let (own, needed) = (index.bounds(range), index.bounds(given));
    let mut checker =
        FrameChecker::new(&index, &spec, &notice).expecting(expected, 0, own, own, needed);
    checker.stderr("[info] Stream mapping:").unwrap();
    let packet = "[vost#0:0/libx264 @ 0x5] [info] muxer <- pts:0 pts_time:0";
    for pts in 0..64 {
        checker.stderr(&shown("decoded", pts)).unwrap();
    }
    // An error behind the shard is the next one's.
    let place = "[info] decoder -> ist_index:0 type:video best_effort_ts:61";
    checker.stderr(place).unwrap();
    checker.stderr(COMPLAINT).unwrap();
    let title = "[info]     title           : muxer <- pts:0 pts_time:0";
    checker.stderr(title).unwrap();
    for _ in 0..60 {
        assert_eq!(checker.stderr(packet).unwrap(), LineEffect::Neutral);
    }
    assert!(checker.find_mismatch().unwrap().contains("64 decoded"));
    assert_eq!(
        checker.stderr(&shown("decoded", 64)).unwrap(),
        LineEffect::Progress
    );
    assert_eq!(checker.stderr(packet).unwrap(), LineEffect::Neutral);
    assert_eq!(checker.stderr(packet).unwrap(), LineEffect::Stop);
    assert_eq!(checker.find_mismatch(), None);
    assert_eq!((checker.times().len(), checker.decoded), (60, 60));
    assert!(!checker.complaints.verdict().any);
    checker.stdout("frame=64").unwrap();
    assert_eq!(progress.into_inner(), 60);
}

#[test]
fn an_error_counts_in_its_own_shard_and_names_its_place() {
    let index = sample();
    let decoded = |checker: &mut FrameChecker<'_>, times: std::ops::Range<i64>| {
        for pts in times {
            let line = format!("[info] decoder -> ist_index:0 type:video best_effort_ts:{pts}");
            checker.stderr(&line).unwrap();
        }
    };
    let mut noisy = checker(&index);
    noisy.stderr(COMPLAINT).unwrap();
    assert!(!noisy.complaints.verdict().any);
    let mut early = checker(&index);
    early.stderr(COMPLAINT).unwrap();
    decoded(&mut early, 50..51);
    early.stderr(COMPLAINT).unwrap();
    let verdict = early.complaints.verdict();
    assert!(verdict.any && verdict.doubtful);
    // A keyframe between them and the shard takes care of it.
    decoded(&mut early, 51..60);
    let verdict = early.complaints.verdict();
    assert!(verdict.any && !verdict.doubtful);
    let mut own = checker(&index);
    decoded(&mut own, 60..62);
    own.stderr(COMPLAINT).unwrap();
    let verdict = own.complaints.verdict();
    assert!(verdict.any && !verdict.doubtful);
    assert!(!own.agrees_with(&early) && own.agrees_with(&own));

    let mut last = checker(&index);
    decoded(&mut last, 58..59);
    last.stderr(COMPLAINT).unwrap();
    assert_eq!(last.complaints.verdict().total, 0);
    decoded(&mut last, 60..61);
    last.stderr(COMPLAINT).unwrap();
    let kept = last.complaints.verdict().kept;
    assert_eq!(kept, ["after 2.500000 s: h264: concealing 40 errors"]);
    let refused = reject_if_strict(&kept, true).unwrap_err();
    assert_eq!(refused.kind(), "damaged-source");
    assert!(reject_if_strict(&kept, false).is_ok());
}
