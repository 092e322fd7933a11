//! Puts the files of the page into the program: a table of their paths and
//! bytes, in `OUT_DIR/page_files.rs`. A debug build reads them from disk, so
//! that it need not be built again for each of their changes.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const FOLDER: &str = "src/http/web";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name| env::var(name).map_err(io::Error::other);
    if variable("PROFILE")? != "debug" {
        println!("cargo:rerun-if-changed={FOLDER}");
    }
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join(FOLDER);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        table += &format!("    ({name:?}, include_bytes!({file:?})),\n");
    }
    table += "]\n";
    fs::write(
        Path::new(&variable("OUT_DIR")?).join("page_files.rs"),
        table,
    )
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
