//! A document as it is printed.

use serde::Serialize;

use crate::render::format::is_unprintable;

/// A document as fields, to be shown as a table.
pub fn value(document: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(document)
        .expect("documents have string keys and plain values, which always serialize")
}

/// A document as the single line that is printed. What would steer a terminal
/// is escaped: JSON itself leaves some of it as it is.
pub fn line(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document)
        .expect("documents have string keys and plain values, which always serialize");
    let mut line = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        // Only within a text can such a letter stand.
        if is_unprintable(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(letter);
        }
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_in_a_document_steers_a_terminal() {
        let name = "a\u{1b}[31m\u{9b}2J\u{202e}b\u{200b}\u{e0041}é";
        let printed = line(&name);
        let wanted = r#""a\u001b[31m\u009b2J\u202eb\u200b\udb40\udc41é""#;
        assert_eq!(printed.trim_end(), wanted);
        assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), name);
    }
}
