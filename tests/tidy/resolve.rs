//! From a path in the code to the file that defines what it names, through
//! re-exports, globs and the crates of this workspace.

use std::collections::{BTreeSet, HashMap};

use crate::{
    house::House,
    modules::{Binding, Crate, Module, TargetKind},
};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub krate: usize,
    /// The defining module, or the module itself.
    pub module: usize,
    /// Nothing if the path names a module.
    pub item: Option<String>,
    /// A method or a variant of the item.
    pub member: Option<String>,
}

/// A reference from one file to another.
#[derive(Clone, Debug)]
pub struct Arrow<'a> {
    pub from: &'a str,
    pub line: usize,
    pub to: &'a str,
    /// What it reaches, as `crate::module::Item`.
    pub reached: String,
    /// It names a module and none of its items.
    pub module_only: bool,
    /// A module hands on what a module below it defines.
    pub hands_on_child: bool,
}

pub struct Resolver<'a> {
    house: &'a House,
    libraries: HashMap<&'a str, usize>,
    /// Where inherent methods are: crate, module and name of the type, then
    /// the method.
    methods: HashMap<(usize, usize, String, String), Vec<usize>>,
}

/// Names that are being looked up, so that no lookup asks for itself.
type Pending<'p> = Vec<(usize, usize, &'p str)>;

impl<'a> Resolver<'a> {
    pub fn new(house: &'a House) -> Self {
        let libraries = house.crates.iter().enumerate();
        let mut resolver = Resolver {
            house,
            libraries: libraries
                .filter(|(_, krate)| krate.kind == TargetKind::Library)
                .map(|(id, krate)| (krate.name.as_str(), id))
                .collect(),
            methods: HashMap::new(),
        };
        for (id, krate) in house.crates.iter().enumerate() {
            for (at, module) in krate.modules.iter().enumerate() {
                for (self_type, method) in &module.methods {
                    for found in resolver.resolve(id, at, self_type) {
                        let Some(item) = found.item else { continue };
                        let key = (found.krate, found.module, item, method.clone());
                        resolver.methods.entry(key).or_default().push(at);
                    }
                }
            }
        }
        resolver
    }

    /// All references of a crate that leave their file.
    pub fn arrows(&self, krate: usize) -> Vec<Arrow<'a>> {
        let mut arrows = Vec::new();
        let modules = &self.house.crates[krate].modules;
        for (at, module) in modules.iter().enumerate().filter(|(_, m)| !m.test_only) {
            for reference in &module.references {
                for found in self.resolve(krate, at, &reference.path) {
                    for (target, reached) in self.definitions(&found) {
                        let to = &self.house.crates[found.krate].modules[target];
                        if to.file == module.file || to.test_only {
                            continue;
                        }
                        arrows.push(Arrow {
                            from: &module.file,
                            line: reference.line,
                            to: &to.file,
                            reached,
                            module_only: found.item.is_none(),
                            hands_on_child: reference.reexport
                                && found.krate == krate
                                && stands_below(modules, target, at),
                        });
                    }
                }
            }
        }
        arrows
    }

    /// The modules where the item and the method that is named stand, each
    /// with the name that it defines.
    fn definitions(&self, found: &Found) -> Vec<(usize, String)> {
        let krate = &self.house.crates[found.krate];
        let path = krate.modules[found.module].path.trim_start_matches("crate");
        let mut name = format!("{}{path}", krate.name);
        let (Some(item), member) = (&found.item, &found.member) else {
            return vec![(found.module, name)];
        };
        name = format!("{name}::{item}");
        let mut definitions = vec![(found.module, name.clone())];
        if let Some(member) = member {
            let key = (found.krate, found.module, item.clone(), member.clone());
            let methods = self.methods.get(&key).into_iter().flatten();
            for module in methods.filter(|module| **module != found.module) {
                definitions.push((*module, format!("{name}::{member}")));
            }
        }
        definitions
    }

    /// Paths into this workspace whose end nobody defines. What a macro of
    /// another crate defines is not known.
    pub fn unresolved(&self) -> Vec<String> {
        let mut unresolved = BTreeSet::new();
        for (id, krate) in self.house.crates.iter().enumerate() {
            for (at, module) in krate.modules.iter().enumerate() {
                for reference in &module.references {
                    for found in self.resolve(id, at, &reference.path) {
                        let there = self.module(&found);
                        if let Some(item) = &found.item
                            && !there.bindings.contains_key(item)
                            && !there.expands_macros
                        {
                            let path = reference.path.join("::");
                            let line = reference.line;
                            unresolved.insert(format!("{}:{line} names {path}", module.file));
                        }
                    }
                }
            }
        }
        unresolved.into_iter().collect()
    }

    /// Everything that a path in a module may name, inside this workspace.
    pub fn resolve(&self, krate: usize, module: usize, path: &[String]) -> Vec<Found> {
        self.walk_from(krate, module, path, &mut Vec::new())
    }

    fn walk_from<'p>(
        &'p self,
        krate: usize,
        module: usize,
        path: &'p [String],
        pending: &mut Pending<'p>,
    ) -> Vec<Found> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let start = match first.as_str() {
            "crate" => vec![self.module_itself(krate, 0)],
            "self" => vec![self.module_itself(krate, module)],
            "super" => {
                let parent = self.house.crates[krate].modules[module].parent;
                vec![self.module_itself(krate, parent.unwrap_or(0))]
            }
            name => {
                let local = self.look_up(krate, module, name, pending);
                match self.libraries.get(name) {
                    Some(library) if local.is_empty() => vec![self.module_itself(*library, 0)],
                    _ => local,
                }
            }
        };
        self.walk(start, rest, pending)
    }

    fn walk<'p>(
        &'p self,
        start: Vec<Found>,
        path: &'p [String],
        pending: &mut Pending<'p>,
    ) -> Vec<Found> {
        let mut reached = start;
        for (at, name) in path.iter().enumerate() {
            // What has something below it is a module or a type, never the
            // function of the same name.
            if reached.iter().any(|found| found.item.is_none()) {
                reached.retain(|found| found.item.is_none());
            }
            let mut next = Vec::new();
            for found in reached {
                if found.item.is_some() {
                    let member = found.member.clone().or_else(|| Some(name.clone()));
                    next.push(Found { member, ..found });
                } else if name == "super" {
                    let module = self.module(&found).parent.unwrap_or(0);
                    next.push(Found { module, ..found });
                } else if name == "self" {
                    next.push(found);
                } else {
                    let below = self.look_up(found.krate, found.module, name, pending);
                    let busy = pending.contains(&(found.krate, found.module, name.as_str()));
                    if below.is_empty() && !busy {
                        // A macro has made it, or a later lookup knows.
                        let item = Some(path[at].clone());
                        next.push(Found { item, ..found });
                    } else {
                        next.extend(below);
                    }
                }
            }
            reached = next;
        }
        reached
    }

    fn look_up<'p>(
        &'p self,
        krate: usize,
        module: usize,
        name: &'p str,
        pending: &mut Pending<'p>,
    ) -> Vec<Found> {
        if pending.contains(&(krate, module, name)) {
            // `pub use lock::lock`: only the module `lock` can be meant.
            let known = self.house.crates[krate].modules[module].bindings.get(name);
            let modules = known.into_iter().flatten().filter_map(|known| match known {
                Binding::Module(id) => Some(self.module_itself(krate, *id)),
                _ => None,
            });
            return modules.collect();
        }
        pending.push((krate, module, name));
        let found = self.bound(krate, module, name, pending);
        pending.pop();
        found
    }

    fn bound<'p>(
        &'p self,
        krate: usize,
        module: usize,
        name: &'p str,
        pending: &mut Pending<'p>,
    ) -> Vec<Found> {
        let here: &Module = &self.house.crates[krate].modules[module];
        let mut found = Vec::new();
        for binding in here.bindings.get(name).into_iter().flatten() {
            match binding {
                Binding::Item => found.push(Found {
                    krate,
                    module,
                    item: Some(name.to_string()),
                    member: None,
                }),
                Binding::Module(id) => found.push(self.module_itself(krate, *id)),
                Binding::Import(path) => {
                    found.extend(self.walk_from(krate, module, path, pending));
                }
            }
        }
        if found.is_empty() {
            for glob in &here.globs {
                for below in self.walk_from(krate, module, glob, pending) {
                    if below.item.is_none() {
                        let names = self.look_up(below.krate, below.module, name, pending);
                        found.extend(names);
                    }
                }
            }
        }
        if found.is_empty() {
            let macros: &Crate = &self.house.crates[krate];
            if let Some(module) = macros.macros.get(name) {
                found.push(Found {
                    krate,
                    module: *module,
                    item: Some(name.to_string()),
                    member: None,
                });
            }
        }
        found
    }

    fn module(&self, found: &Found) -> &Module {
        &self.house.crates[found.krate].modules[found.module]
    }

    fn module_itself(&self, krate: usize, module: usize) -> Found {
        Found {
            krate,
            module,
            item: None,
            member: None,
        }
    }
}

/// Whether a module stands below another one.
fn stands_below(modules: &[Module], module: usize, above: usize) -> bool {
    let mut at = modules[module].parent;
    while let Some(parent) = at {
        if parent == above {
            return true;
        }
        at = modules[parent].parent;
    }
    false
}
