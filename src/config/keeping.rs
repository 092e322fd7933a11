//! What a node keeps of jobs' bytes, and how it goes about it.

use reelraft_model::Problem;

use super::{
    origin::{Picker, bad},
    size::Size,
};
use crate::limits::{COPY_RATE_MIN, DISK_LIMIT_MIN, ZONE_BYTES_MAX};

/// Its settings as flags.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct KeepingArgs {
    /// Bytes of films and sources that this node keeps at most, such as 500G; 0: what the disk has [default: 0]
    #[arg(long, value_name = "SIZE")]
    pub disk_limit: Option<Size>,
    /// Bytes a second that this node copies at most when it takes the place of another, such as 50M; 0: as many as come [default: 0]
    #[arg(long, value_name = "SIZE")]
    pub copy_rate: Option<Size>,
    /// What fails together with this node: a rack, a room. A job's bytes are kept in different zones where there are several [default: none]
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
}

/// What they come to.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// 0: what the disk has.
    pub disk_limit_bytes: u64,
    /// 0: as many as come.
    pub copy_bytes_per_s: u64,
    /// Empty: none.
    pub zone: String,
}

/// Takes them: flags, and in their order what the TOML file has.
///
/// # Errors
/// `bad-config`.
pub fn pick_keeping(
    picker: &mut Picker,
    flags: KeepingArgs,
    [file_limit, file_rate, file_zone]: [Option<String>; 3],
) -> Result<Keeping, Problem> {
    let size = |text: Option<String>| {
        let size = text.map(|text| text.parse::<Size>()).transpose();
        size.map_err(|cause| bad(cause, "correct it in the file of settings"))
    };
    let in_file = (size(file_limit)?, size(file_rate)?);
    let none = Size::default();
    let limit = picker.pick_or("disk_limit", flags.disk_limit, in_file.0, none)?;
    let rate = picker.pick_or("copy_rate", flags.copy_rate, in_file.1, none)?;
    let zone = picker.pick_or("zone", flags.zone, file_zone, String::new())?;
    if limit > none && limit < Size(DISK_LIMIT_MIN) {
        let least = Size(DISK_LIMIT_MIN);
        let cause = format!("a node that keeps {limit} at most is of no use");
        return Err(bad(cause, &format!("give --disk-limit at least {least}")));
    }
    if rate > none && rate < Size(COPY_RATE_MIN) {
        let least = Size(COPY_RATE_MIN);
        let cause = format!("at {rate} a second no lost copy would ever be replaced");
        return Err(bad(cause, &format!("give --copy-rate at least {least}")));
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if zone.len() > ZONE_BYTES_MAX || !zone.chars().all(plain) {
        let cause = format!("'{}' is no name of a zone", zone.escape_debug());
        return Err(bad(cause, "use letters, digits, '-', '_' and '.'"));
    }
    Ok(Keeping {
        disk_limit_bytes: limit.0,
        copy_bytes_per_s: rate.0,
        zone,
    })
}
