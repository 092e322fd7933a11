//! What is read inside a single file: how long its functions are, and which
//! lints it switches off.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Block, ImplItemFn, ItemFn, Signature, TraitItemFn,
    visit::{self, Visit},
};

/// A function with a body.
pub struct Function {
    pub name: String,
    pub line: usize,
    /// From the line of `fn` to that of the closing brace.
    pub lines: usize,
}

/// A lint that an attribute switches off.
pub struct LintAllowed {
    pub lint: String,
    pub line: usize,
}

/// All functions of a file, nested ones and methods included.
pub fn functions(file: &syn::File) -> Vec<Function> {
    let mut finder = FunctionFinder::default();
    finder.visit_file(file);
    finder.found
}

/// The lints that the attributes of a file switch off, under a condition or not.
pub fn lints_allowed(file: &syn::File) -> Vec<LintAllowed> {
    let mut finder = LintFinder::default();
    finder.visit_file(file);
    finder.found
}

#[derive(Default)]
struct FunctionFinder {
    found: Vec<Function>,
}

impl FunctionFinder {
    fn add(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let end = body.brace_token.span.close().end().line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            line,
            lines: end - line + 1,
        });
    }
}

impl<'a> Visit<'a> for FunctionFinder {
    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[derive(Default)]
struct LintFinder {
    found: Vec<LintAllowed>,
}

impl LintFinder {
    /// Finds `allow(…)` and `expect(…)`, also within `cfg_attr(…)`.
    fn scan(&mut self, word: &str, tokens: TokenStream) {
        let switches_off = matches!(word, "allow" | "expect");
        let mut last = String::new();
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    last = word.to_string();
                    if switches_off {
                        self.found.push(LintAllowed {
                            lint: last.clone(),
                            line: word.span().start().line,
                        });
                    }
                }
                TokenTree::Group(group) => self.scan(&last, group.stream()),
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for LintFinder {
    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            let word = list.path.get_ident().map(|word| word.to_string());
            self.scan(&word.unwrap_or_default(), list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        // Attributes in a macro's tokens are not parsed, but they are there.
        self.scan_deep(call.tokens.clone());
    }
}

impl LintFinder {
    /// Looks for `#[…]` anywhere in the tokens of a macro.
    fn scan_deep(&mut self, tokens: TokenStream) {
        let mut after_hash = false;
        for token in tokens {
            match token {
                TokenTree::Group(group) if after_hash => self.scan("", group.stream()),
                TokenTree::Group(group) => self.scan_deep(group.stream()),
                TokenTree::Punct(mark) => {
                    after_hash = mark.as_char() == '#' || (after_hash && mark.as_char() == '!');
                    continue;
                }
                _ => {}
            }
            after_hash = false;
        }
    }
}
