//! What belongs to a film beside pictures and sound: subtitles and
//! attachments, taken out of the source into one small file.

use crate::{Context, error::MediaError, index::Index, shard::Encoded};

/// Takes the extras out of the source.
///
/// # Errors
/// [`MediaError::NoExtras`] when the source has none.
pub async fn take_extras(_: &Context<'_>, index: &Index) -> Result<Encoded, MediaError> {
    debug_assert!(!index.has_extras());
    Err(MediaError::NoExtras)
}
