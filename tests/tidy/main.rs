//! The house rules that a machine can hold: who may import whom, no circles,
//! how long files and functions are, no dead code, how pure the model is, and
//! what the repo must not say.
//!
//! ```text
//! house     reads a checkout: its files and its crates
//! modules   a crate as data;  reader: how `mod` leads from file to file
//! references  what the code of a module names
//! resolve   from a name to the file that defines it
//! circles   imports that lead back;  functions: lengths and lints
//! rooms     the table of who may import whom: edit it when a room is added;  foreign: of other crates
//! made_up   small broken houses, which the checks must refuse
//! ```
//! `TIDY_ROOT=/another/checkout cargo test --test tidy` checks that one.
#![allow(missing_docs, clippy::unwrap_used)]

mod circles;
mod foreign;
mod functions;
mod house;
mod made_up;
mod modules;
mod reader;
mod references;
mod resolve;
mod rooms;

use std::fs;

use house::{House, is_below, is_test_path};
use modules::TargetKind;
use resolve::Resolver;

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;

/// Longest function, from the line of `fn` to that of its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Lints that hide what the house forbids.
const LINTS_HELD: [&str; 5] = [
    "dead_code",
    "unused",
    "warnings",
    "too_many_lines",
    "cognitive_complexity",
];

/// What the pure model must not contain.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::time",
    "std::thread",
    "HashMap",
    "HashSet",
    "async ",
    "f32",
    "f64",
    "rand::",
];

/// Where the pure model's imports must not lead.
const IMPURE_PATHS: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "rand",
    "tokio",
];

/// Fails with all violations at once, so that one run shows the whole work.
#[track_caller]
fn hold(rule: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violations. {rule}\n\n{}\n",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn rooms_import_only_what_they_may() {
    hold(
        "Move the code, or hand the value in from above; the table of rooms is in rooms.rs.",
        &rooms::forbidden_imports(House::here()),
    );
}

#[test]
fn every_file_stands_in_a_room() {
    hold(
        "Move the file into a room, or give its folder a row in rooms.rs.",
        &rooms::homeless(House::here()),
    );
}

#[test]
fn the_table_of_rooms_names_only_rooms() {
    let unknown = rooms::unknown_rooms();
    assert!(unknown.is_empty(), "no rows of rooms.rs: {unknown:?}");
}

#[test]
fn the_wire_types_stay_at_the_edge() {
    hold(
        "Take and give our own types here, and convert in src/grpc.",
        &rooms::wire_types_inside(House::here()),
    );
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    hold(
        "Only the rooms of that crate's row in rooms.rs may name it.",
        &foreign::foreign_crates(House::here()),
    );
}

#[test]
fn no_import_circles() {
    let house = House::here();
    let resolver = Resolver::new(house);
    let mut violations = Vec::new();
    for (id, krate) in house.crates.iter().enumerate() {
        for circle in circles::circles(house, &resolver, id) {
            // Many examples share files: say it once.
            let text = circle.text;
            if !violations.iter().any(|said: &String| said.ends_with(&text)) {
                violations.push(format!("crate {}: {text}", krate.name));
            }
        }
    }
    hold(
        "Move what both files need into a third one below them, or hand it in as an argument.",
        &violations,
    );
}

#[test]
fn functions_fit_a_screen() {
    hold(
        "Split the function where its steps have names; 70 lines are the most.",
        &long_functions(House::here()),
    );
}

fn long_functions(house: &House) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, file) in house.below("") {
        for function in &file.functions {
            if function.lines > FUNCTION_LINES_MAX {
                violations.push(format!(
                    "{path}:{} fn {} has {} lines",
                    function.line, function.name, function.lines
                ));
            }
        }
    }
    violations
}

#[test]
fn files_are_short() {
    let house = House::here();
    let long = house
        .below("")
        .map(|(path, file)| (path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines"));
    hold(
        "Split the file by what its parts are for; 500 lines are the most.",
        &long.collect::<Vec<_>>(),
    );
}

#[test]
fn files_open_with_their_purpose() {
    let silent = House::here()
        .below("")
        .filter(|(_, file)| !file.text.starts_with("//!"))
        .map(|(path, _)| path.to_string());
    hold(
        "Open the file with `//!`: what it is for, and what is not here.",
        &silent.collect::<Vec<_>>(),
    );
}

#[test]
fn no_dead_files() {
    let dead = House::here().dead_files().into_iter().map(String::from);
    hold(
        "Declare the file with `mod` where it belongs, or delete it.",
        &dead.collect::<Vec<_>>(),
    );
}

#[test]
fn no_lint_hides_dead_code_or_long_functions() {
    hold(
        "Delete what is not used, split what is too long, and drop the attribute.",
        &lints_switched_off(House::here()),
    );
}

fn lints_switched_off(house: &House) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, file) in house.below("") {
        for allowed in &file.lints_allowed {
            if LINTS_HELD.contains(&allowed.lint.as_str()) {
                violations.push(format!("{path}:{} allows {}", allowed.line, allowed.lint));
            }
        }
    }
    violations
}

#[test]
fn the_model_is_pure() {
    hold(
        "Hand it in as an argument: every replica must come to the same result.",
        &impurities(House::here(), "raft/model/src"),
    );
}

fn impurities(house: &House, folder: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, file) in house.below(folder) {
        for line in code_lines(&file.text) {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                violations.push(format!("{path} has {word}: {line}"));
            }
        }
    }
    let modules = house.crates.iter().flat_map(|krate| &krate.modules);
    for module in modules.filter(|module| is_below(&module.file, folder)) {
        for reference in &module.references {
            let path = reference.path.join("::");
            let impure = |root: &&str| path == **root || path.starts_with(&format!("{root}::"));
            if IMPURE_PATHS.iter().any(impure) {
                violations.push(format!("{}:{} names {path}", module.file, reference.line));
            }
        }
    }
    violations
}

#[test]
fn one_file_starts_processes_for_media() {
    let starters: Vec<String> = House::here()
        .below("src/media")
        .filter(|(path, file)| !is_test_path(path) && file.text.contains("Command::new"))
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(starters.len(), 1, "start ffmpeg in one file: {starters:?}");
}

#[test]
fn nothing_stands_in_for_work() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimplemented", "!("),
        concat!("to", "do!("),
    ];
    let mut violations = Vec::new();
    for (path, file) in House::here().below("") {
        for word in words.iter().filter(|word| file.text.contains(**word)) {
            violations.push(format!("{path} contains {word}"));
        }
    }
    hold(
        "Do the work, or leave it out and say so in the docs.",
        &violations,
    );
}

/// Lines that are no comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The checks would be green without a house.
#[test]
fn the_whole_house_is_read() {
    let house = House::here();
    hold("Make it Rust: no rule sees it so.", &house.unreadable);
    let libraries = house
        .crates
        .iter()
        .filter(|krate| krate.kind == TargetKind::Library);
    assert!(libraries.count() >= 7, "cargo shows too few crates");
    assert!(house.files.len() > 150, "too few files were found");
    let functions: usize = house.files.values().map(|file| file.functions.len()).sum();
    assert!(
        functions > 1500,
        "too few functions were found: {functions}"
    );
    let manifest = fs::read_to_string(house.root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("reelraft"), "TIDY_ROOT is another house");
}

/// A path that leads nowhere is an import that no rule sees.
#[test]
fn every_path_of_ours_leads_to_its_definition() {
    hold(
        "Teach references.rs or resolve.rs this way of naming things.",
        &Resolver::new(House::here()).unresolved(),
    );
}
