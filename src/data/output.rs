//! A finished output from an offset on, read from this disk or from any living
//! home, a few pieces ahead of the reader.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use reelraft_model::JobEntry;

use super::{
    error::DataError,
    limits::{FETCH_AHEAD, PART_BYTES},
    plane::DataPlane,
};

/// The bytes of a finished job's output from `offset` to its end, in order.
pub fn read_output(
    data: Arc<DataPlane>,
    entry: Arc<JobEntry>,
    offset: u64,
) -> impl Stream<Item = Result<Bytes, DataError>> + Send + 'static {
    let (hash, total_bytes) = (entry.job.output_hash.clone(), entry.job.output_bytes);
    read_blob(data, entry, (hash, total_bytes), offset)
}

/// The bytes of a finished job's output in a range, in order.
pub fn read_output_range(
    data: Arc<DataPlane>,
    entry: Arc<JobEntry>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, DataError>> + Send + 'static {
    let hash = entry.job.output_hash.clone();
    read_blob(data, entry, (hash, range.end), range.start)
}

/// The bytes of a job's blob, which has so many, from `offset` to its end.
pub fn read_blob(
    data: Arc<DataPlane>,
    entry: Arc<JobEntry>,
    (hash, total_bytes): (String, u64),
    offset: u64,
) -> impl Stream<Item = Result<Bytes, DataError>> + Send + 'static {
    let pieces = pieces(offset, total_bytes).map(move |(from, bytes)| {
        let (data, entry, hash) = (data.clone(), entry.clone(), hash.clone());
        async move {
            let read = data.read_range(&entry, &hash, from, bytes).await;
            read.map(Bytes::from)
        }
    });
    stream::iter(pieces).buffered(FETCH_AHEAD)
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
