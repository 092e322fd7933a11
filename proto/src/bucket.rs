//! How an object in a bucket that the operator has named is written: `s3://NAME/KEY`.
//! It may stand where else a URL or the name of a file does.

/// How such URLs begin.
pub const SCHEME: &str = "s3";

/// Whether a text names one, and no file.
pub fn is_bucket_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_told_from_a_file() {
        for bucket in ["s3://media/film.mov", "S3://media/a", "s3://"] {
            assert!(is_bucket_url(bucket), "{bucket}");
        }
        for other in [
            "s3:/media/a",
            "s3",
            "films3://a",
            "https://s3/a",
            "a/s3://b",
        ] {
            assert!(!is_bucket_url(other), "{other}");
        }
    }
}
