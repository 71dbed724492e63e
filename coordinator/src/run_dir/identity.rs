//! `run.json`: what a run is called and computed with.

use proto::state::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::nanoseconds_since_1970;
use crate::location::Location;
use crate::version::Program;

use super::error::{Damage, RunDirError};
use super::json;
use super::store::{Files, Store};

/// What a run is called and computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The run's name on the workers: unique, so that runs do not take each other's layers.
    pub id: String,
    /// BLAS and kernel that its bits depend on; empty until a first worker was there.
    pub blas: String,
    /// Of the bits of that kernel, by which other libraries and kernels may take its place; empty until it is known.
    #[serde(default)]
    pub blas_digest: String,
    /// The sum of the files that samples were read from (of `manifest.json`); absent in runs of earlier builds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data_sha256: Option<String>,
    /// The most memory that coordinator and workers have had resident in an earlier sitting, added up.
    #[serde(default)]
    pub peak_rss_bytes: u64,
    /// Who began it; absent in runs of earlier builds.
    #[serde(flatten)]
    pub begun_by: Option<Program>,
    /// Other builds that went on with it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub continued_by: Vec<Program>,
}

impl RunIdentity {
    /// One that no other has, for who computes with what is in `place`.
    pub fn new(place: &Location) -> Self {
        let now = nanoseconds_since_1970();
        let unique = format!("{place} {} {now}", std::process::id());
        let id = sha256(unique.as_bytes())[..16].to_owned();
        Self {
            id,
            blas: String::new(),
            blas_digest: String::new(),
            data_sha256: None,
            peak_rss_bytes: 0,
            begun_by: Some(Program::this()),
            continued_by: Vec::new(),
        }
    }

    /// Takes note of who goes on with the run. Another build than the one before is noted and returned, that one first where
    /// it is known.
    pub fn continue_by(&mut self, program: Program) -> Option<(Option<&Program>, &Program)> {
        let before = self.continued_by.last().or(self.begun_by.as_ref());
        if before.is_some_and(|before| before.is_same_build(&program)) {
            return None;
        }
        self.continued_by.push(program);
        let (program, earlier) = self.continued_by.split_last().expect("it was added");
        Some((earlier.last().or(self.begun_by.as_ref()), program))
    }
}

const FILE: &str = "run.json";

/// The identity of a run, if it has one yet. Where the file is damaged, what cannot be lost without changing weights is the
/// kernel.
pub fn read(files: &Files) -> Result<Option<RunIdentity>, RunDirError> {
    let Some(bytes) = files.read(FILE)? else { return Ok(None) };
    let damage = match serde_json::from_slice(&bytes) {
        Ok(identity) => return Ok(Some(identity)),
        Err(error) => Damage::Json(error),
    };
    let place = files.at(FILE);
    if let Some((blas, blas_digest)) = blas(&bytes) {
        tracing::warn!("{place}: {damage}; but for the kernel, {blas}, it is made anew");
        return Ok(Some(RunIdentity { blas, blas_digest, ..RunIdentity::new(files.place()) }));
    }
    if files.is_empty("layers")? && files.is_empty("checkpoint")? {
        tracing::warn!("{place}: {damage}; nothing is trained yet, and it is made anew");
        return Ok(None);
    }
    Err(damage.at(
        place,
        "remove the file to go on with the BLAS kernel of the workers at hand, if that is the one of before",
    ))
}

/// The kernel that a damaged file names still, and its digest.
fn blas(bytes: &[u8]) -> Option<(String, String)> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some((text("blas")?, text("blas_digest").unwrap_or_default()))
}

/// Keeps it.
pub fn write(store: &Store, identity: &RunIdentity) -> Result<(), RunDirError> {
    store.write(FILE, json::document(&store.files().at(FILE), identity)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::objects::Patience;

    #[test]
    fn another_build_that_goes_on_with_a_run_is_noted_once_and_compared_with_the_one_before() {
        let build = |commit: &str| Program { commit: Some(commit.to_owned()), ..Program::this() };
        let begun = || RunIdentity {
            begun_by: Some(build("a")),
            ..RunIdentity::new(&std::path::Path::new("run").into())
        };
        let mut identity = begun();
        assert_eq!(identity.continue_by(build("a")), None);
        assert_eq!(identity.continue_by(build("b")), Some((Some(&build("a")), &build("b"))));
        assert_eq!(identity.continue_by(build("b")), None);
        assert_eq!(identity.continue_by(build("a")), Some((Some(&build("b")), &build("a"))));
        assert_eq!(identity.continued_by, [build("b"), build("a")]);
        let json = serde_json::to_string(&identity).unwrap();
        assert!(json.contains("\"commit\":\"a\",\"command\":["), "{json}");
        assert_eq!(serde_json::from_str::<RunIdentity>(&json).unwrap(), identity);
        let mut of_before: RunIdentity = serde_json::from_str("{\"id\": \"a\", \"blas\": \"\"}").unwrap();
        assert_eq!(of_before.continue_by(build("b")), Some((None, &build("b"))));
    }

    #[test]
    fn a_damaged_identity_is_made_anew_where_no_kernel_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(&folder.path().into(), &["layers", "checkpoint"], Patience::default()).unwrap();
        let files = store.files();
        let damage = |bytes: &[u8]| fs::write(folder.path().join(FILE), bytes).unwrap();
        assert_eq!(read(files).unwrap(), None);
        for bytes in [&b""[..], b"{\"id\": \"a\"", b"\xff", b"null", b"{\"blas\": null}"] {
            damage(bytes);
            assert_eq!(read(files).unwrap(), None);
        }
        damage(b"{\"id\": \"a\", \"blas\": \"OpenBLAS Haswell\", \"peak_rss_bytes\": null}");
        assert_eq!(read(files).unwrap().unwrap().blas, "OpenBLAS Haswell");
        damage(b"{\"id\": 3, \"blas\": \"OpenBLAS Haswell\", \"blas_digest\": \"ab\"}");
        let kept = read(files).unwrap().unwrap();
        assert_eq!((&*kept.blas, &*kept.blas_digest), ("OpenBLAS Haswell", "ab"));
        store.write("layers/00.safetensors", b"").unwrap();
        assert_eq!(read(files).unwrap().unwrap().blas, "OpenBLAS Haswell");
        damage(b"{\"id\": \"a\", \"bl");
        let error = read(files).unwrap_err().to_string();
        assert!(error.contains("run.json: not the JSON that it should be: EOF while"), "{error}");
        assert!(error.contains("remove the file to go on"), "{error}");
    }
}
