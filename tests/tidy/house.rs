//! The house as plain data: its files with their functions and lints, and its
//! crates with their modules. Read once from a checkout by cargo and syn, or
//! made up from strings, so that the checks themselves can be tested.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    functions::{self, Function, LintAllowed},
    modules::{Crate, Module, Target, TargetKind},
    reader,
};

/// One source file.
pub struct SourceFile {
    pub text: String,
    pub functions: Vec<Function>,
    pub lints_allowed: Vec<LintAllowed>,
}

/// A checkout. Paths are relative to its root and have forward slashes.
pub struct House {
    pub root: PathBuf,
    pub files: BTreeMap<String, SourceFile>,
    pub crates: Vec<Crate>,
    /// Files that syn can't parse, and why. Nothing else is known of them.
    pub unreadable: Vec<String>,
}

impl House {
    /// The checkout that the environment variable `TIDY_ROOT` names, and this
    /// one without it.
    pub fn here() -> &'static House {
        static HERE: OnceLock<House> = OnceLock::new();
        HERE.get_or_init(|| {
            let root = match env::var_os("TIDY_ROOT") {
                Some(root) => PathBuf::from(root),
                None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            };
            let mut found = Vec::new();
            rust_files(&root, &mut found);
            let texts = found.into_iter().map(|path| {
                let text = fs::read_to_string(&path).unwrap();
                (relative(&root, &path), text)
            });
            Self::build(&root, texts.collect(), &cargo_targets(&root))
        })
    }

    /// A house of strings. Each crate is given by its name, kind and root.
    pub fn made_up(files: &[(&str, &str)], targets: &[(&str, TargetKind, &str)]) -> House {
        let texts = files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()));
        let targets: Vec<Target> = targets
            .iter()
            .map(|(name, kind, root)| Target {
                name: name.to_string(),
                kind: *kind,
                root: root.to_string(),
            })
            .collect();
        Self::build(Path::new("/made-up"), texts.collect(), &targets)
    }

    fn build(root: &Path, texts: BTreeMap<String, String>, targets: &[Target]) -> House {
        let mut files = BTreeMap::new();
        let mut unreadable = Vec::new();
        let mut syntax = BTreeMap::new();
        for (path, text) in texts {
            let parsed = match syn::parse_file(&text) {
                Ok(parsed) => parsed,
                Err(error) => {
                    let line = error.span().start().line;
                    unreadable.push(format!("{path}:{line} is not Rust: {error}"));
                    continue;
                }
            };
            let file = SourceFile {
                functions: functions::functions(&parsed),
                lints_allowed: functions::lints_allowed(&parsed),
                text,
            };
            files.insert(path.clone(), file);
            syntax.insert(path, parsed);
        }
        let crates = targets
            .iter()
            .filter_map(|target| reader::read_crate(target, &syntax));
        House {
            root: root.to_path_buf(),
            crates: crates.collect(),
            files,
            unreadable,
        }
    }

    /// Files that no crate reaches by `mod`.
    pub fn dead_files(&self) -> Vec<&str> {
        let reached: BTreeSet<&str> = self
            .crates
            .iter()
            .flat_map(|krate| &krate.modules)
            .map(|module| module.file.as_str())
            .collect();
        let all = self.files.keys().map(String::as_str);
        all.filter(|path| !reached.contains(path)).collect()
    }

    /// The files below a folder, or the one file of that path.
    pub fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &SourceFile)> {
        self.files
            .iter()
            .filter(move |(path, _)| is_below(path, prefix))
            .map(|(path, file)| (path.as_str(), file))
    }
}

/// Whether a path is the prefix, lies in that folder, or is the `prefix.rs`
/// beside it.
pub fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| {
        prefix.is_empty() || rest.is_empty() || rest == ".rs" || rest.starts_with('/')
    })
}

/// Integration tests, examples and benchmarks: the arrows don't hold them.
pub fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "examples" | "benches"))
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().display().to_string()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every target of every workspace member, as cargo sees them.
fn cargo_targets(root: &Path) -> Vec<Target> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {complaint}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let workspace = Path::new(metadata["workspace_root"].as_str().unwrap());
    let packages = metadata["packages"].as_array().unwrap();
    let targets = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().unwrap())
        .map(|target| Target {
            name: target["name"].as_str().unwrap().replace('-', "_"),
            kind: TargetKind::of(target["kind"][0].as_str().unwrap()),
            root: relative(workspace, Path::new(target["src_path"].as_str().unwrap())),
        });
    targets.collect()
}

/// The modules of the libraries and binaries.
pub fn product_modules(house: &House) -> impl Iterator<Item = &Module> {
    let all = house.crates.iter();
    let products = all.filter(|krate| krate.kind != TargetKind::Other);
    products.flat_map(|krate| &krate.modules)
}
