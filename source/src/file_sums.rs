//! What many files hold.

use std::path::Path;

use rayon::prelude::*;

use super::names::Names;
use super::record::ReadFile;
use super::work::Sum;

/// The sum of each of these files, which are called so from `root` on; computed on all cores.
pub fn file_sums(root: &Path, names: &Names) -> Vec<Sum> {
    let sum = |index| ReadFile::sum(&root.join(names.os(index)), names.text(index).into_owned());
    (0..names.len()).into_par_iter().map(sum).collect()
}
