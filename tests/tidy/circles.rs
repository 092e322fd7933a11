//! Circles of imports between the files of a crate.
//!
//! A file imports another one if its code names an item that the other one
//! defines, however many re-exports lie between. A module that is only
//! declared, or whose items are only handed on to others, is not imported.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
};

use crate::{house::House, resolve::Resolver};

/// From a file to those that it imports, with the first line that does and
/// the names that it wants.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Import>>;

#[derive(Default)]
struct Import {
    line: usize,
    names: BTreeSet<String>,
}

/// A set of files each of which reaches each other one.
pub struct Circle {
    pub files: Vec<String>,
    /// For people: the shortest way around, then all imports within the set.
    pub text: String,
}

/// All circles of a crate.
pub fn circles(house: &House, resolver: &Resolver<'_>, krate: usize) -> Vec<Circle> {
    let imports = imports(house, resolver, krate);
    let mut circles = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for file in imports.keys() {
        if done.contains(file) {
            continue;
        }
        let ahead = reached(&imports, file);
        let mutual: BTreeSet<&str> = ahead
            .into_iter()
            .filter(|other| reached(&imports, other).contains(file))
            .collect();
        done.extend(&mutual);
        if mutual.len() > 1 {
            circles.push(Circle {
                files: mutual.iter().map(|file| file.to_string()).collect(),
                text: describe(&imports, &mutual),
            });
        }
    }
    circles
}

fn imports<'a>(house: &'a House, resolver: &Resolver<'a>, krate: usize) -> Imports<'a> {
    let mut imports = Imports::new();
    for arrow in resolver.arrows(krate) {
        let within = house.crates[krate]
            .modules
            .iter()
            .any(|module| module.file == arrow.to);
        if !within || arrow.module_only || arrow.hands_on_child {
            continue;
        }
        let import = imports
            .entry(arrow.from)
            .or_default()
            .entry(arrow.to)
            .or_default();
        if import.names.is_empty() {
            import.line = arrow.line;
        }
        let (_, name) = arrow.reached.split_once("::").unwrap_or(("", ""));
        import.names.insert(name.to_string());
    }
    imports
}

fn reached<'a>(imports: &Imports<'a>, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: VecDeque<&str> = VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for other in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(*other) {
                next.push_back(other);
            }
        }
    }
    seen
}

fn describe(imports: &Imports<'_>, files: &BTreeSet<&str>) -> String {
    let mut text = format!("{} files import each other in a circle:\n", files.len());
    for (from, to) in shortest(imports, files) {
        let import = &imports[from][to];
        let _ = writeln!(text, "  {from}:{} -> {to}  ({})", import.line, list(import));
    }
    if files.len() > 2 {
        let _ = writeln!(text, "all imports within it:");
        for from in files {
            let within = imports[from].iter().filter(|(to, _)| files.contains(*to));
            for (to, import) in within {
                let _ = writeln!(text, "  {from}:{} -> {to}  ({})", import.line, list(import));
            }
        }
    }
    text
}

fn list(import: &Import) -> String {
    let names: Vec<&str> = import.names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// The shortest way around within a set, as steps.
fn shortest<'a>(imports: &Imports<'a>, files: &BTreeSet<&'a str>) -> Vec<(&'a str, &'a str)> {
    let around = files.iter().map(|start| {
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([*start]);
        while let Some(file) = next.pop_front() {
            for other in imports[file].keys().filter(|other| files.contains(*other)) {
                if !from.contains_key(other) {
                    from.insert(other, file);
                    next.push_back(other);
                }
            }
        }
        let mut steps = Vec::new();
        let mut at = *start;
        loop {
            let before = from[at];
            steps.insert(0, (before, at));
            at = before;
            if at == *start {
                return steps;
            }
        }
    });
    around.min_by_key(Vec::len).unwrap_or_default()
}
