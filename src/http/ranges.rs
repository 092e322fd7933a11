//! Ranges of a file (RFC 9110, section 14): one at a time.

/// What a request wants of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// From here to there, the end not included.
    Part {
        from: u64,
        to: u64,
    },
    /// No byte of it is there.
    Nothing,
}

/// What a `Range` header wants of a file of `total` bytes. Another unit and
/// several ranges mean the whole file, and what can't be read nothing that is
/// there, as the RFC allows.
pub fn wanted(header: Option<&str>, total: u64) -> Wanted {
    let spec = header.and_then(|header| header.trim().strip_prefix("bytes="));
    let Some(spec) = spec.filter(|spec| !spec.contains(',')) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Nothing;
    };
    let number = |text: &str| -> Option<u64> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a number holds lie beyond any file.
        plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None | Some(0) => return Wanted::Nothing,
            Some(bytes) => (total.saturating_sub(bytes), total),
        },
        (first, "") => match number(first) {
            None => return Wanted::Nothing,
            Some(from) => (from, total),
        },
        (first, last) => match (number(first), number(last)) {
            (Some(from), Some(last)) if from <= last => (from, last.saturating_add(1).min(total)),
            _ => return Wanted::Nothing,
        },
    };
    match from < to {
        true => Wanted::Part { from, to },
        false => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |from, to| Wanted::Part { from, to };
        for (header, found) in [
            ("bytes=0-9", part(0, 10)),
            ("bytes=90-", part(90, 100)),
            ("bytes=-10", part(90, 100)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=99-1000", part(99, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=9-0", Wanted::Nothing),
            ("bytes=+1-2", Wanted::Nothing),
            ("bytes=", Wanted::Nothing),
            ("bytes=-", Wanted::Nothing),
            ("bytes=a-b", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 100), found, "{header}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }
}
