//! The byte format of an index or a report: a magic of four letters, a version,
//! a JSON head, and lists of integers as delta-coded varints. Equal values give
//! equal bytes, since those are hashed.

use serde::{Serialize, de::DeserializeOwned};

use crate::error::MediaError;

/// Kind and version of a record.
pub(crate) struct RecordFormat {
    /// `index` or `report`, for errors.
    pub what: &'static str,
    pub magic: &'static [u8; 4],
    pub version: u8,
}

pub(crate) fn write(form: &RecordFormat, head: &impl Serialize, lists: &[&[i64]]) -> Vec<u8> {
    let head = serde_json::to_vec(head).expect("heads are plain structs of numbers and text");
    let mut bytes = Vec::with_capacity(head.len() + 64);
    bytes.extend_from_slice(form.magic);
    bytes.push(form.version);
    write_varint(&mut bytes, head.len() as u64);
    bytes.extend_from_slice(&head);
    write_varint(&mut bytes, lists.len() as u64);
    for list in lists {
        write_varint(&mut bytes, list.len() as u64);
        let mut last = 0i64;
        for &value in *list {
            write_step(&mut bytes, last, value);
            last = value;
        }
    }
    bytes
}

/// Reads a record with `N` lists.
///
/// # Errors
/// [`MediaError::BadRecord`] for another kind or version, or damaged bytes.
pub(crate) fn read<Head: DeserializeOwned, const N: usize>(
    form: &RecordFormat,
    bytes: &[u8],
) -> Result<(Head, [Vec<i64>; N]), MediaError> {
    let bad = |detail: &str| MediaError::BadRecord {
        what: form.what,
        detail: detail.to_string(),
    };
    let rest = bytes
        .strip_prefix(form.magic)
        .ok_or_else(|| bad("it is something else"))?;
    let (&version, mut rest) = rest.split_first().ok_or_else(|| bad("it is cut off"))?;
    if version != form.version {
        return Err(bad(&format!(
            "it has version {version}, this program reads {}",
            form.version
        )));
    }
    let cut = || bad("it is cut off");
    let head_bytes = usize::try_from(read_varint(&mut rest).ok_or_else(cut)?).map_err(|_| cut())?;
    let head = rest.get(..head_bytes).ok_or_else(cut)?;
    rest = &rest[head_bytes..];
    let head = serde_json::from_slice(head).map_err(|error| bad(&error.to_string()))?;
    if read_varint(&mut rest) != Some(N as u64) {
        return Err(bad("it has other lists"));
    }
    let mut lists = [const { Vec::new() }; N];
    for list in &mut lists {
        let length = read_varint(&mut rest).ok_or_else(cut)?;
        // Every value takes at least one byte, which bounds the allocation.
        if length > rest.len() as u64 {
            return Err(cut());
        }
        list.reserve_exact(length as usize);
        let mut last = 0i64;
        for _ in 0..length {
            last = read_step(&mut rest, last).ok_or_else(cut)?;
            list.push(last);
        }
    }
    if rest.is_empty() {
        Ok((head, lists))
    } else {
        Err(bad("it has bytes too many"))
    }
}

/// Writes the step from `last` to `value`; small ones take a byte or two.
pub(crate) fn write_step(bytes: &mut Vec<u8>, last: i64, value: i64) {
    let step = value.wrapping_sub(last);
    write_varint(bytes, ((step << 1) ^ (step >> 63)) as u64);
}

/// Reads what [`write_step`] wrote after the same `last`; `None` at the end.
pub(crate) fn read_step(rest: &mut &[u8], last: i64) -> Option<i64> {
    let folded = read_varint(rest)?;
    let step = (folded >> 1) as i64 ^ -((folded & 1) as i64);
    Some(last.wrapping_add(step))
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FORM: RecordFormat = RecordFormat {
        what: "index",
        magic: b"TEST",
        version: 1,
    };

    #[test]
    fn what_is_written_is_read() {
        let times = [i64::MIN, -1, 0, 1, 1 << 40, i64::MAX];
        let bytes = write(&FORM, &"head", &[&times, &[]]);
        let (head, lists): (String, [Vec<i64>; 2]) = read(&FORM, &bytes).unwrap();
        assert_eq!(head, "head");
        assert_eq!(lists[0], times);
        assert!(lists[1].is_empty());
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let bytes = write(&FORM, &"head", &[&[1, 2, 3]]);
        for length in 0..bytes.len() {
            assert!(read::<String, 1>(&FORM, &bytes[..length]).is_err());
        }
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 0xff;
            let _ = read::<String, 1>(&FORM, &other);
        }
    }
}
