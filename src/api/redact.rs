//! Takes out of a text what must not leave the cluster: secrets, keys, tokens, what
//! stands behind a `?` in a URL, and names of films.

/// What it knows to take out.
#[derive(Debug, Default)]
pub struct Redactor {
    secrets: Vec<String>,
    names: Vec<(String, String)>,
}

/// What the texts of keys, tokens and webhooks' secrets begin with.
const PREFIXES: [&str; 4] = ["rrk_", "rre_", "rrj1.", "whsec_"];

/// Names that are shorter stand in too many other words.
const NAME_BYTES_MIN: usize = 4;

impl Redactor {
    /// Takes these out, wherever they stand.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|it| !it.is_empty()).collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Redactor {
            secrets,
            names: Vec::new(),
        }
    }

    /// Takes the name of a job's file out too.
    pub fn hide_name(&mut self, job: &str, name: &str) {
        if name.len() >= NAME_BYTES_MIN {
            let shown = format!("(name of {job})");
            self.names.push((name.to_string(), shown));
        }
    }

    /// A text without them.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_string();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "(secret)");
        }
        for (name, shown) in &self.names {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), shown);
            }
        }
        for prefix in PREFIXES {
            text = cut_after(&text, prefix, |_| true, "(secret)");
        }
        cut_after(&text, "?", |before| before.contains("://"), "?(query)")
    }
}

/// Replaces what begins with a mark, up to the end of its word, where what stands before
/// it in that word is such.
fn cut_after(text: &str, mark: &str, such: impl Fn(&str) -> bool, shown: &str) -> String {
    let ends = |letter: char| letter.is_whitespace() || "\"'`,;)>]}".contains(letter);
    let mut cut = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, from) = rest.split_at(at);
        let word = before.rfind(ends).map_or(before, |end| &before[end..]);
        let end = from.find(ends).unwrap_or(from.len());
        cut.push_str(before);
        cut.push_str(if such(word) { shown } else { &from[..end] });
        rest = &from[end..];
    }
    cut + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_leave_is_taken_out() {
        let mut redactor = Redactor::new(["s3cret-of-all".into(), String::new(), "s3cret".into()]);
        redactor.hide_name("j1", "Unreleased Film.mp4");
        redactor.hide_name("j2", "a");
        for (text, shown) in [
            ("with s3cret-of-all, s3cret", "with (secret), (secret)"),
            (
                "can't read 'Unreleased Film.mp4'",
                "can't read '(name of j1)'",
            ),
            ("key rrk_00ab_cdef\"", "key (secret)\""),
            ("--token rrj1.ab.cd end", "--token (secret) end"),
            ("whsec_abc=", "(secret)"),
            (
                "GET https://x/y?sig=1&b=2 failed",
                "GET https://x/y?(query) failed",
            ),
            ("why? because", "why? because"),
            ("at a\nhttps://x/?k\nb", "at a\nhttps://x/?(query)\nb"),
        ] {
            assert_eq!(redactor.redact(text), shown);
        }
    }
}
