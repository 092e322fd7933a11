//! What every experiment says of its record at the end: what was tried, what
//! died, what was begun again and whether it should have been; and the picture
//! in its place.

use std::path::Path;

use super::{
    checks::{Away, begun_again},
    picture::Picture,
    record::{End, Record, Try},
};

/// Prints how much was tried, lost and begun again. Returns what was begun
/// again though the node of the earlier try could be heard, in words.
pub fn tell_work(tries: &[Try], away: &[Away]) -> Vec<String> {
    let again = begun_again(tries, away);
    let lost = tries.iter().filter(|found| found.end == End::Killed);
    println!(
        "{} attempts, {} died with their node, {} tasks begun again, {} of them though their node lived",
        tries.len(),
        lost.count(),
        again.tries,
        again.unexplained.len()
    );
    again.unexplained
}

/// Says so where the record is not whole.
pub fn gaps(record: &Record) -> Vec<String> {
    let gap = "the supervisor dropped log lines: the record is not whole";
    record
        .dropped
        .then(|| gap.to_string())
        .into_iter()
        .collect()
}

/// Writes a picture to its file and says where.
///
/// # Errors
/// That it can't be written.
pub fn draw(picture: &Picture, file: &Path) -> Result<(), String> {
    std::fs::write(file, picture.svg()).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("picture: {}", file.display());
    Ok(())
}
