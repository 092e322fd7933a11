//! The folder for everything that a node keeps.

use std::path::PathBuf;

use reelraft_model::Problem;

use super::origin::bad;

pub fn required_folder(data: Option<String>) -> Result<PathBuf, Problem> {
    let data = data.ok_or_else(|| {
        bad(
            "no data folder is given",
            "name one with --data; it is created if it does not exist",
        )
    })?;
    // ffmpeg runs in a folder of its own, where a relative path would name
    // something else.
    std::path::absolute(&data).map_err(|error| {
        bad(
            format!("the data folder '{data}' can't be used: {error}"),
            "name one with --data",
        )
    })
}
