//! A task's input as a file that ffmpeg reads on this machine, fetched from the member
//! in pieces as they are wanted.

use std::{collections::VecDeque, sync::Mutex};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use reelraft_media::Cancel;
use tokio::sync::watch;

use super::link::{Members, Pauses, Place};
use crate::data::{DataError, Ranged};

/// Bytes that are fetched at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Pieces that are kept: ffmpeg reads sound and pictures that lie apart in turn.
const PIECES_KEPT: usize = 8;

/// The input of a task.
pub struct Input {
    members: Members,
    /// Another one once the task has gone to another member.
    place: watch::Receiver<Place>,
    cancel: Cancel,
    total: u64,
    lately: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Input {
    /// An input of so many bytes.
    pub fn new(
        members: Members,
        place: watch::Receiver<Place>,
        cancel: Cancel,
        total: u64,
    ) -> Self {
        Input {
            members,
            place,
            cancel,
            total,
            lately: Mutex::default(),
        }
    }

    fn known(&self, piece: u64) -> Option<Bytes> {
        let lately = self.lately.lock().expect("no holder of this lock panics");
        let known = lately.iter().find(|(known, _)| *known == piece);
        known.map(|(_, bytes)| bytes.clone())
    }

    async fn piece(&self, piece: u64) -> Result<Bytes, DataError> {
        if let Some(bytes) = self.known(piece) {
            return Ok(bytes);
        }
        let from = piece * PIECE_BYTES;
        let to = (from + PIECE_BYTES).min(self.total);
        let mut pauses = Pauses::default();
        let bytes = loop {
            let place = self.place.borrow().clone();
            match self.members.input(&place, from, to).await {
                Ok(bytes) => break bytes,
                // While no member has the task, it is waited for.
                Err(error) if self.cancel.is_cancelled() => {
                    return Err(DataError::Internal {
                        cause: error.to_string(),
                    });
                }
                Err(_) => pauses.pause().await,
            }
        };
        let mut lately = self.lately.lock().expect("no holder of this lock panics");
        lately.push_front((piece, bytes.clone()));
        lately.truncate(PIECES_KEPT);
        Ok(bytes)
    }
}

impl Ranged for Input {
    fn total_bytes(&self) -> u64 {
        self.total
    }

    fn read(&self, offset: u64) -> BoxFuture<'_, Result<Bytes, DataError>> {
        async move {
            if offset >= self.total {
                return Ok(Bytes::new());
            }
            let bytes = self.piece(offset / PIECE_BYTES).await?;
            let skip = (offset % PIECE_BYTES) as usize;
            Ok(bytes.slice(skip.min(bytes.len())..))
        }
        .boxed()
    }
}
