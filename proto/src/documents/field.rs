//! The form of a document's optional fields.

/// `null` for an empty text.
pub fn text(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// `null` for 0.
pub fn above_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}
