//! What this disk can still take, once all that was begun here is whole.

use super::{
    limits::{CHUNK_BYTES, ROOM_PER_SENT_MAX},
    plane::DataPlane,
};

impl DataPlane {
    /// Bytes that this disk has room for beyond the rest of the uploads that it
    /// is a home of. An upload that only says that it is large takes no room from
    /// others: it has some by what it has sent. None where the disk does not say, or is
    /// full; one at least where it does.
    pub fn room_bytes(&self) -> u64 {
        let state = self.table.local();
        let node = self.node();
        let mine = state.uploading().filter(|entry| entry.is_home(node));
        let to_come = mine.map(|entry| {
            let chunks = self.store.chunks_known(&entry.job.id);
            let here = chunks.saturating_mul(CHUNK_BYTES as u64);
            let rest = entry.job.source_bytes.saturating_sub(here);
            rest.min(here.saturating_mul(ROOM_PER_SENT_MAX))
        });
        match self.store.room_bytes() {
            0 => 0,
            // What does not say so is taken for a disk that does not answer.
            room => room.saturating_sub(to_come.sum()).max(1),
        }
    }
}
