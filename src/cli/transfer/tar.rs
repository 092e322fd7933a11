//! Texts as one tar file (ustar), which every system can open.

/// Bytes of a block: a head is one, and contents are filled up to whole ones.
const BLOCK: usize = 512;

/// A file of texts that is being put together.
#[derive(Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
    seconds: u64,
}

impl Tar {
    /// One whose files are of this time.
    pub fn new(unix_ms: u64) -> Self {
        Tar {
            bytes: Vec::new(),
            seconds: unix_ms / 1000,
        }
    }

    /// Adds a text under a name, of which at most 99 bytes are kept.
    pub fn add(&mut self, name: &str, text: &str) {
        let mut end = name.len().min(99);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut head = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            head[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, &name[..end]);
        // Mode, owner and group, size, time; each ends with a zero.
        put(100, "0000600");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", text.len()));
        put(136, &format!("{:011o}", self.seconds));
        // The sum is over a head with blanks in its place.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        head[148..156].copy_from_slice(sum.as_bytes());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(text.as_bytes());
        self.fill();
    }

    fn fill(&mut self) {
        let over = self.bytes.len() % BLOCK;
        if over > 0 {
            self.bytes.resize(self.bytes.len() + BLOCK - over, 0);
        }
    }

    /// The file.
    pub fn finish(mut self) -> Vec<u8> {
        // Two empty blocks end it.
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_takes_out_what_was_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Tar::new(1_764_000_000_000);
        let long = "x".repeat(BLOCK);
        tar.add("bundle/a.txt", "one\n");
        tar.add("bundle/empty.txt", "");
        tar.add("bundle/long.txt", &long);
        let file = folder.path().join("b.tar");
        std::fs::write(&file, tar.finish()).unwrap();
        let mut command = Command::new("tar");
        command.arg("-xf").arg(&file).arg("-C").arg(folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        let read = |name: &str| std::fs::read_to_string(folder.path().join("bundle").join(name));
        assert_eq!(read("a.txt").unwrap(), "one\n");
        assert_eq!(read("empty.txt").unwrap(), "");
        assert_eq!(read("long.txt").unwrap(), long);
    }
}
