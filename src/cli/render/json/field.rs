//! The form of a document and of its optional fields.

use serde::Serialize;

/// A document as the single line that is printed.
pub fn line(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document)
        .expect("documents have string keys and plain values, which always serialize");
    text + "\n"
}

/// `null` for an empty text.
pub fn text(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// `null` for 0.
pub fn above_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}
