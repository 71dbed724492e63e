//! The modules of a program, parsed: which file holds what, and what a name stands for.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod, ItemUse, Meta, UseTree, Visibility};

/// A path's segments.
pub type Segments = Vec<String>;

/// A program or library: all of its modules but those of tests, the root first.
pub struct Program {
    pub modules: Vec<Module>,
}

/// A module.
pub struct Module {
    /// Where its text stands.
    pub file: PathBuf,
    /// The module around it.
    parent: Option<usize>,
    /// What stands in it, but for `mod` and `use`.
    pub items: Vec<Item>,
    /// What it imports.
    pub imports: Vec<Import>,
    names: HashMap<String, Vec<Meaning>>,
    globs: Vec<Segments>,
}

/// One path of a `use`.
pub struct Import {
    pub path: Segments,
    /// Whether others may import it from here.
    pub again: bool,
}

/// What a name in a module stands for; there may be several, in the name spaces of types, values and macros.
#[derive(Clone)]
enum Meaning {
    Defined,
    Module(usize),
    Imported(Segments),
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A module as such.
    Module(usize),
    /// Something that is defined in a module.
    Within(usize),
}

/// Imports of imports are followed as far.
const DEPTH: usize = 16;

impl Program {
    /// Reads the program whose root is `file`.
    pub fn read(file: &Path) -> Self {
        let mut program = Self { modules: Vec::new() };
        program.add_file(file, None, file.parent().expect("a folder"));
        program
    }

    fn add_file(&mut self, file: &Path, parent: Option<usize>, folder: &Path) -> usize {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(file, parsed.items, parent, folder)
    }

    /// Adds a module, and those within it, whose files lie in `folder`.
    fn add(&mut self, file: &Path, items: Vec<Item>, parent: Option<usize>, folder: &Path) -> usize {
        let index = self.modules.len();
        let (names, globs) = (HashMap::new(), Vec::new());
        let file = file.to_owned();
        self.modules.push(Module { file, parent, items: Vec::new(), imports: Vec::new(), names, globs });
        for item in items.into_iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(item) => self.add_child(index, item, folder),
                Item::Use(item) => self.modules[index].import(&item),
                item => self.modules[index].define(item),
            }
        }
        index
    }

    fn add_child(&mut self, parent: usize, item: ItemMod, folder: &Path) {
        let name = item.ident.to_string();
        let own = self.modules[parent].file.clone();
        let folder_of_child = folder.join(&name);
        let child = if let Some((_, items)) = item.content {
            self.add(&own, items, Some(parent), &folder_of_child)
        } else {
            let places = match path_attribute(&item.attrs) {
                Some(path) => vec![own.with_file_name(path)],
                None => vec![folder.join(format!("{name}.rs")), folder_of_child.join("mod.rs")],
            };
            let file = places.iter().find(|file| file.is_file()).expect("the module's file");
            self.add_file(file, Some(parent), &folder_of_child)
        };
        self.modules[parent].names.entry(name).or_default().push(Meaning::Module(child));
    }

    /// What a path that stands in a module leads to; `None` outside of this program.
    pub fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.follow(module, path, DEPTH)
    }

    fn follow(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name => self.name(module, name, rest.is_empty(), depth)?,
        };
        for (place, segment) in rest.iter().enumerate() {
            let Target::Module(within) = at else { break };
            at = match segment.as_str() {
                "self" => at,
                "super" => Target::Module(self.modules[within].parent?),
                // Generated code is not read: what is not found in a module is taken to be of a macro in it.
                name => {
                    self.name(within, name, place + 1 == rest.len(), depth).unwrap_or(Target::Within(within))
                }
            };
        }
        Some(at)
    }

    /// What a name stands for in a module, as the end of a path or on the way.
    fn name(&self, module: usize, name: &str, last: bool, depth: usize) -> Option<Target> {
        let meanings = self.modules[module].names.get(name).map_or(&[][..], Vec::as_slice);
        let found = meanings.iter().filter_map(|meaning| match meaning {
            Meaning::Defined => Some(Target::Within(module)),
            Meaning::Module(child) => Some(Target::Module(*child)),
            Meaning::Imported(path) => self.follow(module, path, depth),
        });
        let is_module = |target: &Target| matches!(target, Target::Module(_));
        // A module on the way, anything else at the end, where a name stands for both.
        let best = found.max_by_key(|target| is_module(target) != last);
        best.or_else(|| {
            let globs = self.modules[module].globs.iter();
            globs.filter_map(|glob| self.follow(module, glob, depth)).find_map(|target| match target {
                Target::Module(within) => self.name(within, name, last, depth.checked_sub(1)?),
                Target::Within(_) => None,
            })
        })
    }

    /// Whether a module stands, at any depth, within another.
    pub fn is_within(&self, module: usize, outer: usize) -> bool {
        let mut parents = std::iter::successors(self.modules[module].parent, |&at| self.modules[at].parent);
        parents.any(|parent| parent == outer)
    }
}

impl Module {
    fn define(&mut self, item: Item) {
        let name = match &item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            self.names.entry(name.to_string()).or_default().push(Meaning::Defined);
        }
        self.items.push(item);
    }

    fn import(&mut self, item: &ItemUse) {
        let again = !matches!(item.vis, Visibility::Inherited);
        self.import_tree(&item.tree, &mut Vec::new(), again);
    }

    fn import_tree(&mut self, tree: &UseTree, before: &mut Segments, again: bool) {
        let with = |name: &dyn ToString| [before.as_slice(), &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import_tree(&path.tree, before, again);
                before.pop();
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import_tree(tree, before, again));
            }
            UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().expect("`self` of a module").clone();
                self.import_as(before.clone(), name, again);
            }
            UseTree::Name(name) => self.import_as(with(&name.ident), name.ident.to_string(), again),
            UseTree::Rename(name) => self.import_as(with(&name.ident), name.rename.to_string(), again),
            UseTree::Glob(_) => {
                self.globs.push(before.clone());
                self.imports.push(Import { path: before.clone(), again });
            }
        }
    }

    fn import_as(&mut self, path: Segments, name: String, again: bool) {
        // `use name;` and `use name::{self, ...}` of another crate say nothing about modules here.
        if path.len() > 1 {
            self.names.entry(name).or_default().push(Meaning::Imported(path.clone()));
        }
        self.imports.push(Import { path, again });
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether `#[cfg(test)]` or `#[test]` stands before something.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
