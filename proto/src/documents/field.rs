//! The form of a document's optional fields.

/// `null` for an empty text.
pub fn text(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// Frames a second from thousandths of them; `null` for 0.
pub fn speed(milli: u64) -> Option<f64> {
    above_zero(milli).map(|milli| milli as f64 / 1000.0)
}

/// `null` for 0.
pub fn above_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}
