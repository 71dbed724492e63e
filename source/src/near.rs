//! What may be meant to be a file that is missing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::spelling::{entries, plain};

/// How much of a name must be alike, from 0 to 1: `mnist.npz` is near to `mnist`, `fashion-mnist` is not.
const ALIKE: f64 = 0.6;

/// Of what is in `folders`, that whose name is nearest to one of `wanted`, if any is near. What is `known` to be
/// something else is passed over, and so is a folder on the way to another one.
pub fn nearest(folders: &[PathBuf], wanted: &[&str], known: &[&str]) -> Option<PathBuf> {
    let known: HashSet<String> = known.iter().map(|name| plain(name)).collect();
    let candidates = folders.iter().flat_map(|folder| entries(folder));
    let candidates = candidates
        .filter(|path| !folders.iter().any(|folder| folder.starts_with(path)))
        .filter(|path| !known.contains(&plain(&name_of(path))));
    let scored = candidates.map(|path| (likeness(&path, wanted), path)).filter(|(score, _)| *score >= ALIKE);
    // The first of several that are equally near.
    scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, path)| path)
}

fn likeness(path: &Path, wanted: &[&str]) -> f64 {
    let name = plain(&name_of(path));
    let scores = wanted.iter().map(|wanted| strsim::normalized_levenshtein(&name, &plain(wanted)));
    scores.fold(0.0, f64::max)
}

fn name_of(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
