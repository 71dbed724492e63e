//! Files that use each other.
//!
//! A file uses another where its code names something that is defined there, however it came by the name. `mod child;` and
//! `pub use child::Name;` alone are no use of the child: a `mod.rs` may list and hand on what its children define, and a
//! child may use what its `mod.rs` defines, but not both ways. What is for tests only does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use strata_tests::workspace;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemUse, Macro, Meta, UseTree};

use crate::modules::{Program, Segments, Target, is_for_tests};

/// Files that use each other, directly or over others.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Circle {
    pub files: BTreeSet<PathBuf>,
    /// Who names what of whom.
    pub uses: BTreeSet<String>,
}

/// The circles among the files of the program whose root is `file`.
pub fn circles(file: &Path) -> Vec<Circle> {
    let program = Program::read(file);
    let uses = uses(&program);
    let graph: DiGraphMap<&Path, ()> = uses.keys().copied().collect();
    let of_several = tarjan_scc(&graph).into_iter().filter(|files: &Vec<&Path>| files.len() > 1);
    of_several.map(|files| circle(&files, &uses)).collect()
}

fn circle(files: &[&Path], uses: &Uses) -> Circle {
    let within = |file: &Path| files.contains(&file);
    let uses = uses.iter().filter(|((from, to), _)| within(from) && within(to));
    let uses = uses.map(|((from, to), names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("{} uses {} of {}", relative(from).display(), names.join(", "), relative(to).display())
    });
    Circle { files: files.iter().map(|file| relative(file).to_owned()).collect(), uses: uses.collect() }
}

fn relative(file: &Path) -> &Path {
    file.strip_prefix(workspace()).unwrap_or(file)
}

/// By (user, used): what is used, as the user writes it.
type Uses<'a> = BTreeMap<(&'a Path, &'a Path), BTreeSet<String>>;

fn uses(program: &Program) -> Uses<'_> {
    let mut uses = Uses::new();
    for (index, module) in program.modules.iter().enumerate() {
        let handed_on = |target| match target {
            Target::Module(used) | Target::Within(used) => program.is_within(used, index),
        };
        let imports = module.imports.iter();
        let imports = imports.filter_map(|import| {
            let target = program.resolve(index, &import.path)?;
            (!(import.again && handed_on(target))).then_some((import.path.clone(), target))
        });
        let mut names = Names::default();
        module.items.iter().for_each(|item| names.visit_item(item));
        let named =
            names.0.into_iter().filter_map(|path| Some((path.clone(), program.resolve(index, &path)?)));
        for (path, target) in imports.chain(named) {
            // A module as such is nothing yet; what is taken from it is.
            let Target::Within(used) = target else { continue };
            let (from, to) = (module.file.as_path(), program.modules[used].file.as_path());
            if from != to {
                uses.entry((from, to)).or_default().insert(path.join("::"));
            }
        }
    }
    uses
}

/// The paths that stand in code, also within macros, attributes and functions.
#[derive(Default)]
struct Names(BTreeSet<Segments>);

impl Names {
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path = Segments::new();
        // Colons since the last name.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.take(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.take(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.take_tokens(group.stream());
                    }
                }
            }
        }
        self.take(path);
    }

    fn take(&mut self, path: Segments) {
        if !path.is_empty() {
            self.0.insert(path);
        }
    }

    fn take_tree(&mut self, tree: &UseTree, before: &Segments) {
        let with = |name: &dyn ToString| [before.as_slice(), &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.take_tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_tree(tree, before)),
            UseTree::Name(name) => self.take(with(&name.ident)),
            UseTree::Rename(name) => self.take(with(&name.ident)),
            UseTree::Glob(_) => self.take(before.clone()),
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.take(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.take_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.take_tokens(list.tokens.clone());
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.take_tree(&item.tree, &Segments::new());
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

#[test]
fn a_module_and_its_child_make_a_circle_where_each_uses_the_other() {
    let found = |parent: &str, child: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lib.rs"), parent).unwrap();
        std::fs::write(folder.path().join("child.rs"), child).unwrap();
        circles(&folder.path().join("lib.rs")).len()
    };
    let child = "use super::Own; pub struct Theirs(Own); pub fn make() {}";
    assert_eq!(found("mod child; pub struct Own; pub use child::Theirs;", child), 0);
    assert_eq!(found("mod child; pub struct Own; pub use child::Theirs; fn f(_: Theirs) {}", child), 1);
    assert_eq!(found("mod child; use child::make; pub struct Own; fn f() { make() }", child), 1);
    assert_eq!(found("mod child; pub struct Own; fn f() { assert!(child::make() == ()) }", child), 1);
    assert_eq!(
        found("mod child; pub struct Own; #[cfg(test)] mod tests { use super::child::make; }", child),
        0
    );
    // What comes from elsewhere is elsewhere's, whoever hands it on.
    let lower = "mod child; mod lower { pub struct Own; } pub use lower::Own; fn f() { child::make() }";
    assert_eq!(found(lower, child), 1, "an inner module is of the same file");
    let only = "pub fn make() { let _ = Some(1); }";
    assert_eq!(found("mod child; fn f() { child::make() }", only), 0);
}
