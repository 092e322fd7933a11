//! What a home does for what it keeps, on the wire.

use reelraft_proto::v1;

use crate::node::messages::{ScrubTold, UpkeepTold};

/// Copies and scrub, on the wire.
pub fn wire_upkeep(upkeep: UpkeepTold) -> v1::Upkeep {
    let UpkeepTold {
        copy_jobs,
        copy_bytes,
        copied_bytes,
        copy_rate,
        scrub,
    } = upkeep;
    let ScrubTold {
        running,
        done_bytes,
        total_bytes,
        ended_unix_ms,
        blobs,
        bytes,
        damaged,
        unread,
    } = scrub;
    v1::Upkeep {
        copy_jobs,
        copy_bytes,
        copied_bytes,
        copy_rate,
        scrub: Some(v1::Scrub {
            running,
            done_bytes,
            total_bytes,
            ended_unix_ms,
            blobs,
            bytes,
            damaged,
            unread,
        }),
    }
}

/// Copies and scrub, from the wire.
pub fn model_upkeep(upkeep: v1::Upkeep) -> UpkeepTold {
    let v1::Upkeep {
        copy_jobs,
        copy_bytes,
        copied_bytes,
        copy_rate,
        scrub,
    } = upkeep;
    let v1::Scrub {
        running,
        done_bytes,
        total_bytes,
        ended_unix_ms,
        blobs,
        bytes,
        damaged,
        unread,
    } = scrub.unwrap_or_default();
    UpkeepTold {
        copy_jobs,
        copy_bytes,
        copied_bytes,
        copy_rate,
        scrub: ScrubTold {
            running,
            done_bytes,
            total_bytes,
            ended_unix_ms,
            blobs,
            bytes,
            damaged,
            unread,
        },
    }
}
