//! What is wrong with a TOML file, without what is written in it: the line may hold
//! a secret.

/// The cause, and the line's number.
pub fn toml_cause(text: &str, error: &toml::de::Error) -> String {
    let cause = error.message();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {cause}", before.matches('\n').count() + 1),
        None => cause.to_string(),
    }
}
