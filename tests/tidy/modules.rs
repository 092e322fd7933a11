//! A crate as plain data: its modules, the names that each one binds and the
//! paths that its code refers to.

use std::collections::HashMap;

/// What cargo builds from a root file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    Library,
    Binary,
    /// A test, an example, a benchmark or a build script.
    Other,
}

impl TargetKind {
    pub fn of(cargo_kind: &str) -> Self {
        match cargo_kind {
            "lib" | "rlib" | "proc-macro" => TargetKind::Library,
            "bin" => TargetKind::Binary,
            _ => TargetKind::Other,
        }
    }
}

/// A root file and what is built from it.
pub struct Target {
    pub name: String,
    pub kind: TargetKind,
    pub root: String,
}

/// A target with its modules. The first one is the root.
pub struct Crate {
    pub name: String,
    pub kind: TargetKind,
    pub modules: Vec<Module>,
    /// The module that defines each `macro_rules!`.
    pub macros: HashMap<String, usize>,
}

/// A module: a file, or a part of one in braces.
pub struct Module {
    pub parent: Option<usize>,
    /// As written in code, `crate::…`.
    pub path: String,
    pub file: String,
    pub test_only: bool,
    /// Calls of macros among its items may define more than is seen here.
    pub expands_macros: bool,
    pub bindings: HashMap<String, Vec<Binding>>,
    /// The paths before `::*`.
    pub globs: Vec<Vec<String>>,
    pub references: Vec<Reference>,
    /// The types that have inherent methods here, as paths, with a method each.
    pub methods: Vec<(Vec<String>, String)>,
}

/// One mention of a path.
#[derive(Clone, Debug)]
pub struct Reference {
    pub path: Vec<String>,
    pub line: usize,
    /// A `pub use`.
    pub reexport: bool,
}

/// What a name in a module may mean. A name can mean several things at once,
/// as a function and a module have namespaces of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Defined in this module.
    Item,
    Module(usize),
    /// Bound by a `use` of that path.
    Import(Vec<String>),
}

impl Module {
    pub fn bind(&mut self, name: String, binding: Binding) {
        let bindings = self.bindings.entry(name).or_default();
        if !bindings.contains(&binding) {
            bindings.push(binding);
        }
    }
}
