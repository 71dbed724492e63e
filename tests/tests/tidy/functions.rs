//! How long functions are.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, Item, ItemFn, Signature, TraitItemFn};

use crate::modules::{Program, is_for_tests};

/// A function's name and its lines, from its signature to its closing brace.
pub fn functions(program: &Program) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for module in &program.modules {
        let mut lengths = Lengths::default();
        module.items.iter().for_each(|item: &Item| lengths.visit_item(item));
        let named = |(name, lines)| (format!("{}: {name}", module.file.display()), lines);
        found.extend(lengths.0.into_iter().map(named));
    }
    found
}

#[derive(Default)]
struct Lengths(Vec<(String, usize)>);

impl Lengths {
    fn take(&mut self, signature: &Signature, block: &Block) {
        let lines = block.span().end().line - signature.span().start().line + 1;
        self.0.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.take(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            self.take(&function.sig, &function.block);
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.take(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
