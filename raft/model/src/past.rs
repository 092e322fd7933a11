//! Jobs that are over, and of which nothing but their row is left in the table:
//! there may be thousands for each one that runs. They are kept as the bytes of
//! their rows, in short, and read when somebody asks for one.

use std::sync::Arc;

use prost::Message;

use crate::{
    limits::HEX_DIGITS_MIN,
    pages::Pages,
    rows::{Job, JobState},
};

/// Such jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// Their rows in short, by age.
    rows: Pages<u64, Arc<[u8]>>,
    /// Their ages, by id.
    ages: Pages<ShortId, u64>,
}

/// The digits of a job's id, as bytes.
type ShortId = [u8; 10];

impl Past {
    /// Whether a job has its place here once its tasks are no rows any more.
    pub fn takes(job: &Job) -> bool {
        let over = job.summary.is_some() || job.state() == JobState::Deleted;
        let sent = job.pending_deliveries().next().is_none();
        over && sent && job.state().ended() && !job.is_measuring() && short_id(&job.id).is_some()
    }

    /// Adds a job that it takes.
    pub fn insert(&mut self, job: &Job) {
        if let Some(id) = short_id(&job.id) {
            let row = squeeze(&job.encode_to_vec());
            self.rows.insert_mut(job.created_index, row.into());
            self.ages.insert_mut(id, job.created_index);
        }
    }

    /// Takes a job out.
    pub fn remove(&mut self, id: &str) -> Option<Job> {
        let age = self.ages.remove_mut(&short_id(id)?)?;
        self.rows.remove_mut(&age).map(|row| job_of(&row))
    }

    pub fn size(&self) -> usize {
        self.rows.size()
    }

    pub fn contains(&self, id: &str) -> bool {
        self.age(id).is_some()
    }

    pub fn has_age(&self, age: u64) -> bool {
        self.rows.get(&age).is_some()
    }

    fn age(&self, id: &str) -> Option<u64> {
        self.ages.get(&short_id(id)?).copied()
    }

    /// The bytes of a job's row.
    pub fn row(&self, id: &str) -> Option<Vec<u8>> {
        let row = self.rows.get(&self.age(id)?)?;
        Some(restore(row))
    }

    pub fn job(&self, id: &str) -> Option<Job> {
        self.at_age(self.age(id)?)
    }

    pub fn at_age(&self, age: u64) -> Option<Job> {
        self.rows.get(&age).map(|row| job_of(row))
    }

    /// Their rows with their ids, by age.
    pub fn rows(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let rows = self.rows.iter().map(|(_, row)| restore(row));
        rows.map(|row| (id_of(&row), row))
    }

    /// All of them, by age.
    pub fn jobs(&self) -> impl Iterator<Item = Job> {
        self.rows.iter().map(|(_, row)| job_of(row))
    }

    /// Those older than `before`, with their ages, the newest first.
    pub fn down_from(&self, before: u64) -> impl Iterator<Item = (u64, Job)> {
        let rows = self.rows.down_from(before);
        rows.map(|(age, row)| (age, job_of(row)))
    }
}

fn job_of(row: &[u8]) -> Job {
    Job::decode(&restore(row)[..]).expect("it was encoded from a row")
}

/// The one field of [`Job`] that names it.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    id: String,
}

fn id_of(row: &[u8]) -> String {
    Named::decode(row).expect("it was encoded from a row").id
}

/// The digits of an id that was derived from a request, as all are.
fn short_id(id: &str) -> Option<ShortId> {
    let digits = id.strip_prefix('j')?.as_bytes();
    let mut short = ShortId::default();
    if digits.len() != 2 * short.len() {
        return None;
    }
    for (byte, pair) in short.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(short)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// Writes two digits of a hash as one byte: hashes are the most of a row. The
/// bytes come in turns: a count of bytes as they are, these, a count of bytes
/// that were two digits each, and those.
fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut short = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = plain_length(rest).min(u8::MAX.into());
        short.push(plain as u8);
        short.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let pairs = match digits_length(rest) {
            digits if digits >= HEX_DIGITS_MIN => (digits / 2).min(u8::MAX.into()),
            _ => 0,
        };
        short.push(pairs as u8);
        let (digits, after) = rest.split_at(2 * pairs);
        let pairs = digits.chunks_exact(2);
        short.extend(pairs.filter_map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)));
        rest = after;
    }
    short
}

/// How many bytes come before the next digits that are worth it.
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match digits_length(&bytes[at..]) {
            digits if digits >= HEX_DIGITS_MIN => return at,
            digits => at += digits + 1,
        }
    }
    bytes.len()
}

fn digits_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| digit(**byte).is_some())
        .count()
}

/// What was squeezed.
fn restore(short: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = Vec::with_capacity(2 * short.len());
    let mut rest = short;
    let mut plain = true;
    while let Some((&count, after)) = rest.split_first() {
        let (turn, after) = after.split_at(count.into());
        match plain {
            true => bytes.extend_from_slice(turn),
            false => bytes.extend(turn.iter().flat_map(|byte| {
                let (high, low) = (byte >> 4, byte & 15);
                [DIGITS[usize::from(high)], DIGITS[usize::from(low)]]
            })),
        }
        plain = !plain;
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_squeezed_is_restored() {
        let hash = "0123456789abcdef".repeat(4);
        let texts = [
            String::new(),
            "abc".to_string(),
            hash.clone(),
            format!("@{hash}x{hash}a"),
            format!("{}{hash}", "é".repeat(300)),
            hash.repeat(20),
            hash[1..].to_string(),
            format!("{}{}", "z".repeat(255), &hash[..15]),
        ];
        for text in texts {
            let short = squeeze(text.as_bytes());
            assert_eq!(restore(&short), text.as_bytes(), "{text}");
        }
        assert_eq!(
            squeeze(format!("name@{hash}").as_bytes()).len(),
            1 + 5 + 1 + 32
        );
    }

    #[test]
    fn ids_that_are_not_derived_have_no_short_form() {
        assert!(short_id(&crate::job_id("t", "r")).is_some());
        for id in [
            "",
            "j",
            "j1",
            "k0123456789abcdef0123",
            "j0123456789ABCDEF0123",
        ] {
            assert_eq!(short_id(id), None, "{id}");
        }
    }
}
