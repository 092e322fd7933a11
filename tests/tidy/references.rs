//! What the code of one module refers to: its `use` declarations, the paths in
//! its code, in the tokens of macros and in attributes.
//!
//! Not seen: methods that are called on a value whose type must be inferred,
//! and what a macro of another crate expands to.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, ExprCall, ExprMethodCall, ExprPath, ImplItemFn, Item, ItemImpl, ItemMod, ItemUse,
    Macro, Meta, PatIdent, UseTree, VisRestricted, Visibility,
    visit::{self, Visit},
};

use crate::modules::{Binding, Module, Reference};

/// Binds the names of a module's items and collects its references. The answer
/// names the `macro_rules!` that it defines.
pub fn collect(items: &[Item], module: &mut Module) -> Vec<String> {
    let mut collector = Collector {
        module,
        self_type: None,
        macros: Vec::new(),
    };
    for item in items {
        collector.bind_item(item);
        collector.visit_item(item);
    }
    collector.macros
}

struct Collector<'m> {
    module: &'m mut Module,
    /// The type of the `impl` that is being read.
    self_type: Option<Vec<String>>,
    macros: Vec<String>,
}

impl Collector<'_> {
    fn bind_item(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => match &item.ident {
                Some(name) => {
                    self.macros.push(name.to_string());
                    name
                }
                None => return self.bind_expanded(item.mac.tokens.clone()),
            },
            _ => return,
        };
        self.module.bind(name.to_string(), Binding::Item);
    }

    /// Binds what the call of a macro probably defines.
    fn bind_expanded(&mut self, tokens: TokenStream) {
        self.module.expands_macros = true;
        let mut after_keyword = false;
        for token in tokens {
            let TokenTree::Ident(word) = token else {
                after_keyword = false;
                continue;
            };
            if after_keyword {
                self.module.bind(word.to_string(), Binding::Item);
            }
            let word = word.to_string();
            let keywords = ["enum", "struct", "fn", "const", "static", "type", "trait"];
            after_keyword = keywords.contains(&word.as_str());
        }
    }

    fn refer(&mut self, path: Vec<String>, line: usize) {
        if !self.module.test_only && !path.is_empty() {
            self.module.references.push(Reference {
                path,
                line,
                reexport: false,
            });
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.import(&step.tree, &path, public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, public);
                }
            }
            UseTree::Name(name) => self.import_name(path, &name.ident, &name.ident, public),
            UseTree::Rename(name) => self.import_name(path, &name.ident, &name.rename, public),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.add_use(path.clone(), line, public);
                self.module.globs.push(path);
            }
        }
    }

    fn import_name(&mut self, mut path: Vec<String>, name: &Ident, bound: &Ident, public: bool) {
        let mut bound = bound.to_string();
        if name != "self" {
            path.push(name.to_string());
        } else if bound == "self" {
            bound = path.last().cloned().unwrap_or_default();
        }
        self.module.bind(bound, Binding::Import(path.clone()));
        self.add_use(path, name.span().start().line, public);
    }

    fn add_use(&mut self, path: Vec<String>, line: usize, reexport: bool) {
        if !self.module.test_only {
            self.module.references.push(Reference {
                path,
                line,
                reexport,
            });
        }
    }

    /// Finds paths in tokens that nobody has parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) if !continues(&tokens[..at]) => {
                    let mut path = vec![first.to_string()];
                    while let Some(TokenTree::Ident(next)) = tokens.get(at + 3) {
                        if !is_mark(&tokens[at + 1], ':') || !is_mark(&tokens[at + 2], ':') {
                            break;
                        }
                        path.push(next.to_string());
                        at += 3;
                    }
                    let called = match tokens.get(at + 1) {
                        Some(TokenTree::Group(group)) => {
                            group.delimiter() == Delimiter::Parenthesis
                        }
                        Some(next) => is_mark(next, '!'),
                        None => false,
                    };
                    if path.len() > 1 || called || starts_upper(&path[0]) {
                        self.refer(path, first.span().start().line);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Finds paths in string literals of attributes, as in `with = "a::b"`.
    fn scan_strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.scan_strings(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else {
                        continue;
                    };
                    if let Ok(path) = text.parse::<syn::Path>()
                        && path.segments.len() > 1
                    {
                        self.refer(segments(&path), line);
                    }
                }
                _ => {}
            }
        }
    }

    fn self_path(&self, path: &syn::Path) -> Vec<String> {
        let mut found = segments(path);
        if let Some(self_type) = &self.self_type
            && found.first().is_some_and(|first| first == "Self")
        {
            found.splice(..1, self_type.iter().cloned());
        }
        found
    }
}

impl<'a> Visit<'a> for Collector<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        } else if let Item::Use(item) = item {
            // It still says what a name means in the tests below it.
            let tests = std::mem::replace(&mut self.module.test_only, true);
            self.visit_item_use(item);
            self.module.test_only = tests;
        }
    }

    /// A module of its own, read elsewhere.
    fn visit_item_mod(&mut self, _: &'a ItemMod) {}

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], public);
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let self_type = match &*item.self_ty {
            syn::Type::Path(path) if path.qself.is_none() => Some(segments(&path.path)),
            _ => None,
        };
        if let (Some(self_type), None) = (&self_type, &item.trait_) {
            for method in &item.items {
                if let syn::ImplItem::Fn(method) = method {
                    let name = method.sig.ident.to_string();
                    self.module.methods.push((self_type.clone(), name));
                }
            }
        }
        let outer = std::mem::replace(&mut self.self_type, self_type);
        visit::visit_item_impl(self, item);
        self.self_type = outer;
    }

    fn visit_impl_item_fn(&mut self, method: &'a ImplItemFn) {
        if !is_test_only(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if let Some(first) = path.segments.first() {
            self.refer(self.self_path(path), first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    /// A lone lower-case name is a local variable, unless it is called.
    fn visit_expr_path(&mut self, path: &'a ExprPath) {
        let single = path.path.get_ident().map(|name| name.to_string());
        if single.is_none_or(|name| starts_upper(&name)) {
            visit::visit_expr_path(self, path);
        }
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(name) = function.path.get_ident()
        {
            self.refer(vec![name.to_string()], name.span().start().line);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        if let (syn::Expr::Path(receiver), Some(self_type)) = (&*call.receiver, &self.self_type)
            && receiver.path.is_ident("self")
        {
            let mut path = self_type.clone();
            path.push(call.method.to_string());
            self.refer(path, call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_pat_ident(&mut self, name: &'a PatIdent) {
        if starts_upper(&name.ident.to_string()) {
            let line = name.ident.span().start().line;
            self.refer(vec![name.ident.to_string()], line);
        }
        visit::visit_pat_ident(self, name);
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
            self.scan_strings(list.tokens.clone());
        }
    }

    /// `pub(super)` and its like import nothing.
    fn visit_vis_restricted(&mut self, _: &'a VisRestricted) {}
}

/// Whether an item exists in tests only.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path
            .segments
            .last()
            .is_some_and(|last| last.ident == "test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

fn segments(path: &syn::Path) -> Vec<String> {
    let names = path
        .segments
        .iter()
        .map(|segment| segment.ident.to_string());
    names.collect()
}

fn starts_upper(name: &str) -> bool {
    name.starts_with(|first: char| first.is_uppercase())
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}

/// Whether these tokens leave a path open, a field or a lifetime.
fn continues(before: &[TokenTree]) -> bool {
    match before {
        [.., last] if is_mark(last, '.') => !before
            .get(before.len().wrapping_sub(2))
            .is_some_and(|earlier| is_mark(earlier, '.')),
        [.., last] if is_mark(last, '\'') => true,
        [.., earlier, last] => is_mark(earlier, ':') && is_mark(last, ':'),
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
