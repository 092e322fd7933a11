//! The boxes of which MP4 files are made.

use std::io::Read;

/// Type, raw header and total size of the next box. Size 0 means "to the end".
pub(crate) fn box_head(
    reader: &mut impl Read,
    left: u64,
) -> std::io::Result<([u8; 4], Vec<u8>, u64)> {
    let mut head = vec![0u8; 8];
    reader.read_exact(&mut head)?;
    let kind = [head[4], head[5], head[6], head[7]];
    let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
        0 => left,
        1 => {
            let mut large = [0u8; 8];
            reader.read_exact(&mut large)?;
            head.extend_from_slice(&large);
            u64::from_be_bytes(large)
        }
        size => size.into(),
    };
    Ok((kind, head, size))
}

/// Iterates over the boxes inside a box.
pub(crate) struct ChildBoxes<'a>(pub &'a [u8]);

impl<'a> Iterator for ChildBoxes<'a> {
    type Item = ([u8; 4], &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let size = u32::from_be_bytes(self.0.get(..4)?.try_into().ok()?) as usize;
        let kind = self.0.get(4..8)?.try_into().ok()?;
        let body = self.0.get(8..size)?;
        self.0 = &self.0[size..];
        Some((kind, body))
    }
}

/// The body of the first box of a kind inside another.
pub(crate) fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    ChildBoxes(body)
        .find(|(found, _)| found == kind)
        .map(|(_, body)| body)
}

/// The number of 32 bits at a place.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
