//! The wheel that carries the programs, in a Python where nothing else is installed.

use std::fs;

use xshell::cmd;

use super::bench::{Bench, Outcome};
use crate::{dist, wheel};

/// Trains as the guide says, with the programs that are in the package and nothing of them elsewhere.
const TRAINS: &str = r#"
import pickle, sys, tempfile
from pathlib import Path

import numpy as np
import strata

package = Path(strata.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert {strata.find_program(name).parent for name in ["coordinator", "worker"]} == {package / "bin"}
assert (package / "licenses" / "openblas.txt").is_file()
X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "run"
    two = strata.SCFF(run_dir=out, local=2).fit(X)
    features = two.transform(X)
    assert np.abs(strata.load(out).transform(X) - features).max() < 1e-6
    one = strata.SCFF().fit(X)
    assert one.summary_["weights_sha256"] == two.summary_["weights_sha256"]
    config = out / "config.toml"
    scff = strata.SCFF(config, set={"layers.0.epochs": 1, "seed": 5}).fit(X)
    assert scff.transform(X).shape == features.shape
    assert np.array_equal(pickle.loads(pickle.dumps(scff)).transform(X), scff.transform(X))
print(features.shape[1])
"#;

/// Installs the wheel in an environment of its own, with what it needs, and trains there.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if cmd!(shell, "python3 -c").arg("import pip, venv, ensurepip").quiet().ignore_stderr().run().is_err() {
        return Ok(Outcome::Skipped("python3 has no pip or no venv".to_owned()));
    }
    let wheel = wheel::build(shell, &dist::folder_of(bench.archive()?))?;
    let folder = bench.folder("wheel")?;
    let python = folder.join("python");
    cmd!(shell, "python3 -m venv {python}").run()?;
    let (pip, own) = (python.join("bin/pip"), python.join("bin/python"));
    let with_sklearn = format!("{}[sklearn]", wheel.display());
    if cmd!(shell, "{pip} install --quiet --disable-pip-version-check {with_sklearn}").run().is_err() {
        return Ok(Outcome::Skipped("what the package needs cannot be installed".to_owned()));
    }
    let script = folder.join("trains.py");
    fs::write(&script, TRAINS)?;
    let _there = shell.push_dir(&folder);
    let features = cmd!(shell, "env -i PATH=/usr/bin:/bin HOME={folder} {own} {script}").read()?;
    let megabytes = wheel.metadata()?.len() as f64 / 1e6;
    let name = wheel.file_name().unwrap_or_default().display().to_string();
    Ok(Outcome::Passed(format!(
        "{name} ({megabytes:.0} MB), installed where no program is, learns {features} features"
    )))
}
