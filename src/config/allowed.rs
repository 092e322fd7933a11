//! The settings of where URLs in requests may lead to: addresses, and buckets.

use std::path::Path;

use reelraft_model::Problem;

use super::origin::{Picker, bad};
use crate::outside::{Buckets, addresses::AllowedAddresses};

/// Where URLs in requests may lead to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Besides global addresses.
    pub allowed: AllowedAddresses,
    /// What `s3://NAME/KEY` names.
    pub buckets: Buckets,
}

/// A setting as a flag and as the file has it.
type Given = (Option<String>, Option<String>);

/// Takes the allowed ranges and the file of buckets.
///
/// # Errors
/// `bad-config` that names the range, or what is wrong with the file.
pub fn pick_reach(picker: &mut Picker, ranges: Given, buckets: Given) -> Result<Reach, Problem> {
    let text = picker.pick("allow_addresses", ranges.0, ranges.1, || None)?;
    let hint = "give --allow-addresses ranges such as 10.0.0.0/8, separated by commas";
    let parsed = text.unwrap_or_default().parse();
    let allowed = parsed.map_err(|cause: String| bad(cause, hint))?;
    let path = picker.pick("s3_buckets", buckets.0, buckets.1, || None)?;
    let buckets = match path {
        None => Buckets::default(),
        Some(path) => Buckets::read(Path::new(&path)).map_err(|cause| {
            let hint = "give each bucket a table with endpoint, access_key and secret_key";
            bad(format!("{path}: {cause}"), hint)
        })?,
    };
    Ok(Reach { allowed, buckets })
}
