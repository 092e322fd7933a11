//! Reads the modules of a crate: follows `mod` and `#[path]` from its root
//! file, as the compiler does, but into every branch of a `cfg`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use syn::{Attribute, Item, ItemMod};

use crate::{
    modules::{Binding, Crate, Module, Target},
    references::{self, is_test_only},
};

/// Where a module's items stand.
struct Place {
    file: String,
    /// Where `mod name;` is looked for.
    child_dir: String,
    /// Where `#[path]` is looked for.
    path_dir: String,
}

/// Reads all modules of a target, unless its root file is missing.
pub fn read_crate(target: &Target, files: &BTreeMap<String, syn::File>) -> Option<Crate> {
    let root = files.get(&target.root)?;
    let mut reader = Reader {
        files,
        krate: Crate {
            name: target.name.clone(),
            kind: target.kind,
            modules: Vec::new(),
            macros: HashMap::new(),
        },
    };
    let dir = folder_of(&target.root);
    let place = Place {
        file: target.root.clone(),
        child_dir: dir.clone(),
        path_dir: dir,
    };
    reader.read(&root.items, None, "crate".into(), place, false);
    Some(reader.krate)
}

struct Reader<'a> {
    files: &'a BTreeMap<String, syn::File>,
    krate: Crate,
}

impl Reader<'_> {
    fn read(
        &mut self,
        items: &[Item],
        parent: Option<usize>,
        path: String,
        place: Place,
        test_only: bool,
    ) -> usize {
        let id = self.krate.modules.len();
        self.krate.modules.push(Module {
            parent,
            path: path.clone(),
            file: place.file.clone(),
            test_only,
            expands_macros: false,
            bindings: HashMap::new(),
            globs: Vec::new(),
            references: Vec::new(),
            methods: Vec::new(),
        });
        let module = &mut self.krate.modules[id];
        for name in references::collect(items, module) {
            self.krate.macros.insert(name, id);
        }
        for item in items {
            if let Item::Mod(declaration) = item {
                let test_only = test_only || is_test_only(&declaration.attrs);
                if let Some(child) = self.read_child(declaration, id, &path, &place, test_only) {
                    let name = declaration.ident.to_string();
                    self.krate.modules[id].bind(name, Binding::Module(child));
                }
            }
        }
        id
    }

    fn read_child(
        &mut self,
        declaration: &ItemMod,
        parent: usize,
        parent_path: &str,
        place: &Place,
        test_only: bool,
    ) -> Option<usize> {
        let name = declaration.ident.to_string();
        let path = format!("{parent_path}::{name}");
        if let Some((_, items)) = &declaration.content {
            let dir = join(&place.child_dir, &name);
            let inner = Place {
                file: place.file.clone(),
                child_dir: dir.clone(),
                path_dir: dir,
            };
            return Some(self.read(items, Some(parent), path, inner, test_only));
        }
        let written = path_attribute(&declaration.attrs);
        let file = match &written {
            Some(written) => Some(join(&place.path_dir, written)),
            None => [format!("{name}.rs"), format!("{name}/mod.rs")]
                .iter()
                .map(|ending| join(&place.child_dir, ending))
                .find(|file| self.files.contains_key(file)),
        }?;
        let items = &self.files.get(&file)?.items;
        let dir = folder_of(&file);
        let owns_folder = written.is_some() || file.ends_with("/mod.rs");
        let inner = Place {
            child_dir: match owns_folder {
                true => dir.clone(),
                false => file.trim_end_matches(".rs").to_string(),
            },
            path_dir: dir,
            file,
        };
        Some(self.read(items, Some(parent), path, inner, test_only))
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
}

fn folder_of(file: &str) -> String {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    folder.display().to_string()
}

/// Joins two paths and resolves `..`, without a look at the disk.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
