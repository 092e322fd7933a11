//! The server side of `Jobs.Fetch`: a finished output from an offset on, read
//! from this disk or from any living home, a few pieces ahead of the client.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use reelraft_model::JobEntry;
use reelraft_proto::v1;
use tonic::Status;

use super::{
    DataPlane,
    limits::{FETCH_AHEAD, PART_BYTES},
};

/// The parts of a finished job's output. The first says its size and hash,
/// and comes even if there is nothing left to send.
pub fn serve(
    data: Arc<DataPlane>,
    entry: Arc<JobEntry>,
    offset: u64,
) -> impl Stream<Item = Result<v1::FetchPart, Status>> + Send + 'static {
    let total_bytes = entry.job.output_bytes;
    let hash = entry.job.output_hash.clone();
    let pieces = pieces(offset, total_bytes).map(move |(from, bytes)| {
        let (data, entry) = (data.clone(), entry.clone());
        async move {
            let read = data
                .read_range(&entry, &entry.job.output_hash, from, bytes)
                .await;
            read.map(|read| (from, read))
        }
    });
    let parts = stream::iter(pieces)
        .buffered(FETCH_AHEAD)
        .map(|piece| match piece {
            Ok((offset, data)) => Ok(v1::FetchPart {
                offset,
                data: data.into(),
                ..Default::default()
            }),
            Err(error) => Err(error.status()),
        });
    let head = v1::FetchPart {
        offset,
        total_bytes,
        hash,
        ..Default::default()
    };
    stream::iter([Ok(head)]).chain(parts)
}

/// The pieces of a range, cut at block boundaries so that each block is
/// checked once.
fn pieces(offset: u64, total_bytes: u64) -> impl Iterator<Item = (u64, u64)> + Send {
    let block = PART_BYTES as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let from = at;
        at = total_bytes.min((from / block + 1) * block);
        (from < at).then(|| (from, at - from))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pieces_cover_the_range_once_and_end_at_blocks() {
        let block = PART_BYTES as u64;
        for (offset, total) in [
            (0, 0),
            (5, 5),
            (0, 1),
            (3, block),
            (block, block + 1),
            (7, 3 * block + 2),
        ] {
            let pieces: Vec<_> = pieces(offset, total).collect();
            let mut at = offset;
            for (from, bytes) in &pieces {
                assert_eq!(*from, at);
                assert_eq!(from / block, (from + bytes - 1) / block);
                at += bytes;
            }
            assert_eq!(at, total);
        }
        assert_eq!(pieces(9, 5).count(), 0, "past the end there is nothing");
    }
}
