//! What a build of ffmpeg has, asked of the program itself.
//!
//! Not here: whether what it has also works; see `encoders.rs`.

use std::collections::BTreeSet;

use crate::{
    error::MediaError,
    facts::text::strings,
    ffmpeg::{context::Context, listeners::TextListener},
};

/// The names of the encoders that a build has.
pub(crate) async fn encoders(context: &Context<'_>) -> Result<BTreeSet<String>, MediaError> {
    let mut text = TextListener::default();
    let arguments = strings(&["-hide_banner", "-v", "error", "-encoders"]);
    let exit = context.ffmpeg(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffmpeg", exit)?;
    Ok(listed(&text.out))
}

/// Refuses a job whose encoders the build lacks, by name and before anything
/// else is done for it.
///
/// # Errors
/// [`MediaError::EncoderMissing`] names the first.
pub(crate) fn require<'n>(
    encoders: &BTreeSet<String>,
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), MediaError> {
    match names.find(|name| !encoders.contains(*name)) {
        Some(name) => Err(MediaError::EncoderMissing {
            encoder: name.to_string(),
        }),
        None => Ok(()),
    }
}

/// Parses lines such as ` V....D libx264   libx264 H.264 …`. The legend above
/// them has an equals sign for a name.
fn listed(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let flags = words.next()?;
        let name = words.next()?;
        (flags.len() == 6 && name != "=").then(|| name.to_string())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_encoders_is_read() {
        let list = listed(
            "Encoders:\n V..... = Video\n ------\n V....D libx264              libx264 H.264 (codec h264)\n A..... aac                  AAC\n",
        );
        assert_eq!(list.iter().collect::<Vec<_>>(), ["aac", "libx264"]);
        assert!(require(&list, ["aac", "libx264"].into_iter()).is_ok());
        let missing = require(&list, ["aac", "libsvtav1"].into_iter()).unwrap_err();
        assert_eq!(missing.kind(), "encoder-missing");
        assert!(missing.to_string().contains("libsvtav1"));
    }
}
