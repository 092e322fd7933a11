//! Results of attempts, as they cross the wire.

use reelraft_model::{ChunksRead, ShardRange};
use reelraft_proto::v1;

use crate::node::messages::{Analysis, Done};

pub(super) fn wire_done(done: Done) -> v1::Done {
    let Done {
        hash,
        bytes_out,
        bytes_in,
        frames,
        report,
        analysis,
        read,
        payload,
        score_micro,
    } = done;
    v1::Done {
        hash,
        bytes_out,
        bytes_in,
        frames,
        report,
        analysis: analysis.map(wire_analysis),
        read: read.map(|ChunksRead { runs, digest }| v1::ChunksRead { runs, digest }),
        payload,
        score_micro,
    }
}

pub(super) fn model_done(done: v1::Done) -> Done {
    let v1::Done {
        hash,
        bytes_out,
        bytes_in,
        frames,
        report,
        analysis,
        read,
        payload,
        score_micro,
    } = done;
    Done {
        hash,
        bytes_out,
        bytes_in,
        frames,
        report,
        analysis: analysis.map(model_analysis),
        read: read.map(|v1::ChunksRead { runs, digest }| ChunksRead { runs, digest }),
        payload,
        score_micro,
    }
}

fn wire_analysis(analysis: Analysis) -> v1::Analysis {
    let Analysis {
        plan,
        plan_note,
        audio_tracks,
        extras,
        epoch,
        kept,
        audio_kept,
        shard_keys,
        audio_keys,
        shard_memory_mib,
        shares_parts,
        duration_us,
    } = analysis;
    let range = |range: ShardRange| v1::ShardRange {
        from_pts: range.from_pts,
        to_pts: range.to_pts,
        frames: range.frames,
    };
    v1::Analysis {
        plan: plan.into_iter().map(range).collect(),
        plan_note,
        audio_tracks,
        extras,
        epoch,
        kept,
        audio_kept,
        shard_keys,
        audio_keys,
        shard_memory_mib,
        shares_parts,
        duration_us,
    }
}

fn model_analysis(analysis: v1::Analysis) -> Analysis {
    let v1::Analysis {
        plan,
        plan_note,
        audio_tracks,
        extras,
        epoch,
        kept,
        audio_kept,
        shard_keys,
        audio_keys,
        shard_memory_mib,
        shares_parts,
        duration_us,
    } = analysis;
    let range = |range: v1::ShardRange| ShardRange {
        from_pts: range.from_pts,
        to_pts: range.to_pts,
        frames: range.frames,
    };
    Analysis {
        plan: plan.into_iter().map(range).collect(),
        plan_note,
        audio_tracks,
        extras,
        epoch,
        kept,
        audio_kept,
        shard_keys,
        audio_keys,
        shard_memory_mib,
        shares_parts,
        duration_us,
    }
}
