//! What an engine's ffmpeg says, cut into lines, and what names a run.

use reelraft_model::AttemptKey;

use crate::limits::ENGINE_LINE_BYTES_MAX;

/// Whether a line ends with it.
pub(super) fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The lines that end in some bytes; what follows them stays in `line`.
pub(super) fn lines_of(line: &mut Vec<u8>, bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for byte in bytes {
        match byte {
            b'\n' | b'\r' => {
                lines.push(String::from_utf8_lossy(line).into_owned());
                line.clear();
            }
            byte if line.len() < ENGINE_LINE_BYTES_MAX => line.push(*byte),
            _ => {}
        }
    }
    lines
}

/// Names a run by what it is to do.
pub(super) fn digest_of(key: &AttemptKey, args: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.to_string().as_bytes());
    for arg in args {
        hasher.update(&(arg.len() as u64).to_le_bytes());
        hasher.update(arg.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_they_come_and_have_a_length() {
        let mut line = Vec::new();
        assert!(lines_of(&mut line, b"frame").is_empty());
        assert_eq!(lines_of(&mut line, b"=1\r\nend"), ["frame=1", ""]);
        let long = vec![b'x'; 2 * ENGINE_LINE_BYTES_MAX];
        assert!(lines_of(&mut line, &long).is_empty());
        assert_eq!(lines_of(&mut line, b"\n")[0].len(), ENGINE_LINE_BYTES_MAX);
        assert!(line.is_empty());
    }

    #[test]
    fn a_run_is_named_by_all_that_it_is_to_do() {
        let key = |attempt| AttemptKey {
            attempt,
            ..Default::default()
        };
        let args = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let one = digest_of(&key(1), &args(&["a", "b"]));
        assert_eq!(one, digest_of(&key(1), &args(&["a", "b"])));
        assert_ne!(one, digest_of(&key(1), &args(&["ab"])));
        assert_ne!(one, digest_of(&key(2), &args(&["a", "b"])));
    }
}
