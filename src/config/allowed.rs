//! The setting of where URLs in requests may lead to.

use reelraft_model::Problem;

use super::origin::{Picker, bad};
use crate::outside::addresses::AllowedAddresses;

/// Takes the allowed ranges, given as a flag and in the file.
///
/// # Errors
/// `bad-config` that names the range.
pub fn pick_allowed(
    picker: &mut Picker,
    flag: Option<String>,
    file: Option<String>,
) -> Result<AllowedAddresses, Problem> {
    let text = picker.pick("allow_addresses", flag, file, || None)?;
    let hint = "give --allow-addresses ranges such as 10.0.0.0/8, separated by commas";
    let parsed = text.unwrap_or_default().parse();
    parsed.map_err(|cause: String| bad(cause, hint))
}
