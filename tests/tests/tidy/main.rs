//! Rules of the project that no compiler checks.

mod circles;
mod functions;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, TargetKind};
use circles::{Circle, circles};
use functions::functions;
use modules::Program;
use serde_json::Value;
use strata_tests::{Sandbox, workspace};

/// Files that people wrote, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    walk(workspace(), &mut files);
    files.retain(|path| path.file_name().is_some_and(|name| name != "Cargo.lock"));
    files.into_iter().filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if ["target", "runs", "datasets", ".git"].iter().any(|skipped| path.ends_with(skipped)) {
            continue;
        }
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Lines of Rust that hold one of `words`, but for comments and for these files, which have to name them.
fn rust_lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let folder = workspace().join(folder);
    let mut found = Vec::new();
    for (path, text) in sources() {
        if !path.starts_with(&folder)
            || path.extension().is_none_or(|extension| extension != "rs")
            || path.starts_with(workspace().join("tests/tests/tidy"))
        {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

fn manifest(member: &str) -> toml::Table {
    fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// What cargo knows of the workspace and all that it is built of on Linux, as the lock file has it.
fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // What is built is here; what only other systems need would have to be fetched.
    let options = ["--offline".to_owned(), "--filter-platform".to_owned(), platform];
    MetadataCommand::new().current_dir(workspace()).other_options(options).exec().unwrap()
}

/// Names of all packages that a package is built of, but for its tests.
fn all_dependencies(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let graph = metadata.resolve.as_ref().expect("a resolved graph");
    let mut found = BTreeSet::new();
    let mut open = vec![&member(metadata, package).id];
    while let Some(id) = open.pop() {
        let node = graph.nodes.iter().find(|node| node.id == *id).expect("a package of the graph");
        for dependency in &node.deps {
            let built_in = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if built_in && found.insert(metadata[&dependency.pkg].name.to_string()) {
                open.push(&dependency.pkg);
            }
        }
    }
    found
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    let mut members = metadata.workspace_packages().into_iter();
    members.find(|member| member.name == name).unwrap_or_else(|| panic!("no member {name}"))
}

/// The roots of everything that is built of the workspace's sources.
fn roots(metadata: &Metadata) -> Vec<(PathBuf, Vec<TargetKind>)> {
    let targets = metadata.workspace_packages().into_iter().flat_map(|member| &member.targets);
    targets.map(|target| (target.src_path.clone().into_std_path_buf(), target.kind.clone())).collect()
}

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("scff", &[][..]),
        ("source", &["scff"]),
        ("proto", &["scff"]),
        ("worker", &["scff", "proto"]),
        ("baseline", &["scff"]),
        ("coordinator", &["scff", "source", "proto", "baseline"]),
        // For peers that no program of ours would be.
        ("strata-tests", &["proto"]),
        ("xtask", &[]),
    ]);
    let metadata = metadata();
    for member in metadata.workspace_packages() {
        let allowed = allowed.get(member.name.as_str()).expect("a member with a place among the others");
        let within = member.dependencies.iter().filter(|dependency| dependency.path.is_some());
        let wrong: Vec<&str> =
            within.map(|other| other.name.as_str()).filter(|other| !allowed.contains(other)).collect();
        assert!(wrong.is_empty(), "{} must not depend on {wrong:?}", member.name);
    }
}

/// Files that still use each other, each circle as its files. The list may only become shorter.
const CIRCLES: &[&[&str]] = &[];

#[test]
fn no_files_use_each_other() {
    let found: BTreeSet<Circle> = roots(&metadata()).iter().flat_map(|(root, _)| circles(root)).collect();
    let known: BTreeSet<BTreeSet<PathBuf>> =
        CIRCLES.iter().map(|files| files.iter().map(PathBuf::from).collect()).collect();
    let new: Vec<_> = found.iter().filter(|circle| !known.contains(&circle.files)).collect();
    assert!(new.is_empty(), "put what both need into a file below them: {new:#?}");
    let opened: Vec<_> =
        known.iter().filter(|files| found.iter().all(|circle| circle.files != **files)).collect();
    assert!(opened.is_empty(), "strike these off the list of circles, they are open: {opened:#?}");
}

#[test]
fn functions_are_short() {
    let is_tested =
        |kinds: &[TargetKind]| kinds.iter().any(|kind| matches!(kind, TargetKind::Test | TargetKind::Bench));
    let mut functions: Vec<(String, usize)> = roots(&metadata())
        .iter()
        .filter(|(_, kinds)| !is_tested(kinds))
        .flat_map(|(root, _)| functions(&Program::read(root)))
        .collect();
    functions.sort_by_key(|(_, lines)| *lines);
    let at = |share: f64| functions[(share * (functions.len() - 1) as f64) as usize].1;
    let longest = &functions[functions.len() - functions.len().div_ceil(50)..];
    println!("{} functions, median {} lines, 99th percentile {}", functions.len(), at(0.5), at(0.99));
    println!("the longest: {longest:#?}");
    assert!(at(0.5) <= 8, "the median function has {} lines", at(0.5));
    assert!(at(0.99) < 60, "one function in a hundred has {} lines or more: {longest:#?}", at(0.99));
    assert!(at(1.0) <= 100, "functions of more than 100 lines: {longest:#?}");
}

#[test]
fn the_mathematics_knows_no_network_no_files_no_environment_and_no_clock() {
    let packages = all_dependencies(&metadata(), "scff");
    assert!(packages.contains("ndarray"));
    for forbidden in ["tokio", "tonic", "prost", "hyper", "tracing", "clap"] {
        assert!(!packages.contains(forbidden), "scff is built of {forbidden}");
    }
    let words =
        ["std::fs", "std::env", "std::net", "std::process", "std::time", "std::io", "Instant", "SystemTime"];
    let lines = rust_lines_with("scff/src", &words);
    assert!(lines.is_empty(), "{lines:#?}");
}

#[test]
fn every_crate_keeps_to_the_lints_of_the_workspace() {
    for member in ["scff", "source", "proto", "baseline", "worker", "coordinator", "tests", "xtask"] {
        let manifest = manifest(member);
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints.and_then(toml::Value::as_bool), Some(true), "{member}");
    }
}

#[test]
fn a_configuration_plans_without_its_data() {
    let file = workspace().join("configs/iris.toml");
    let words = ["plan", file.to_str().unwrap(), "--data", "nowhere"];
    let mut ended = Sandbox::new().start("coordinator", &words).end();
    ended.expect_success();
    ended.output.retain(|c| c != ' ');
    assert!(ended.output.contains("readout:"), "{}", ended.output);
}

#[test]
fn a_plan_is_numbers_too() {
    let sandbox = Sandbox::of_convolutions();
    let ended = sandbox
        .start("coordinator", &["plan", Sandbox::CONFIG, "--workers", "1,2", "--threads", "1", "--json"])
        .end();
    ended.expect_success();
    let numbers: Value = serde_json::from_str(&ended.output).unwrap();
    for (place, workers) in [1, 2].into_iter().enumerate() {
        let planned = &numbers[place];
        assert_eq!(planned["workers"], workers);
        assert!(planned["seconds"].as_f64().unwrap() > 0.0);
        let layers = planned["layers"].as_array().unwrap();
        let names: Vec<_> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["conv1", "conv2", "conv3"]);
        assert!(layers.iter().all(|layer| layer["shards"] == workers));
        assert!(layers.iter().all(|layer| layer["steps_per_second"].as_f64().unwrap() > 0.0));
    }
}

/// The subcommands that a program's help lists.
fn subcommands(sandbox: &Sandbox, program: &str) -> Vec<String> {
    listed(&help(sandbox, program, &[]))
}

fn help(sandbox: &Sandbox, program: &str, words: &[&str]) -> String {
    sandbox.start(program, &[words, &["--help"]].concat()).end().output
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let listed = help.split("Commands:\n").nth(1).unwrap_or_default().lines();
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

/// Command lines in documents and in the comments of configurations: what follows `words`, to the line's end.
fn command_lines(words: &str) -> Vec<(PathBuf, String)> {
    let documents = sources().into_iter().filter(|(path, _)| {
        let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
        is("md") || is("toml") && path.starts_with(workspace().join("configs"))
    });
    let mut lines = Vec::new();
    for (path, text) in documents {
        for (start, _) in text.match_indices(words) {
            // Also after a path and in backticks, but not as the end of another word.
            let before = text[..start].chars().next_back();
            if before.is_none_or(|c| c.is_whitespace() || "/`".contains(c)) {
                let line = text[start + words.len()..].split(['\n', '`', '#']).next().unwrap_or_default();
                lines.push((path.clone(), line.trim().to_owned()));
            }
        }
    }
    lines
}

#[test]
fn the_documents_name_xtask_commands_that_exist() {
    let sandbox = Sandbox::new();
    let known = subcommands(&sandbox, "xtask");
    assert!(known.contains(&"quickstart".to_owned()), "{known:?}");
    for (path, line) in command_lines("cargo xtask ") {
        // `cargo xtask test | bench` and the like name several.
        for alternative in line.split('|') {
            let command = alternative.split_whitespace().next().unwrap_or_default();
            assert!(
                known.iter().any(|known| known == command),
                "{}: `cargo xtask {line}`; there are {known:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_documents_name_options_and_configurations_that_exist() {
    let sandbox = Sandbox::new();
    let known = subcommands(&sandbox, "coordinator");
    let mut texts = BTreeMap::new();
    for name in &known {
        let text = help(&sandbox, "coordinator", &[name]);
        let within = listed(&text).into_iter().filter(|name| name != "help");
        let of_those: String = within.map(|inner| help(&sandbox, "coordinator", &[name, &inner])).collect();
        texts.insert(name.clone(), text + &of_those);
    }
    for (path, line) in command_lines("coordinator ") {
        // Prose speaks of the coordinator too.
        let Some(text) = line.split_whitespace().next().and_then(|name| texts.get(name)) else { continue };
        for word in line.split_whitespace() {
            let option = word.split('=').next().unwrap_or_default();
            assert!(
                !option.starts_with("--") || text.contains(option),
                "{}: `coordinator {line}`: {option}",
                path.display()
            );
            assert!(
                !word.starts_with("configs/") || workspace().join(word).is_file(),
                "{}: `coordinator {line}`: {word}",
                path.display()
            );
        }
    }
}

#[test]
fn no_file_names_a_place_of_the_machine_it_was_written_on() {
    // Those of this machine, so that it need not be known which others there are.
    let workspace = workspace().canonicalize().unwrap();
    let places: Vec<String> = [Some(workspace), std::env::home_dir()]
        .into_iter()
        .flatten()
        .map(|place| place.display().to_string())
        .filter(|place| place.len() > 1)
        .map(|place| place + "/")
        .collect();
    for (path, text) in sources() {
        for place in &places {
            // Not as the end of another path.
            let begins = |at: usize| !text[..at].ends_with(|before: char| before.is_alphanumeric());
            let named = text.match_indices(place).any(|(at, _)| begins(at));
            assert!(!named, "{} names {place}", path.display());
        }
    }
}

#[test]
fn every_ignored_test_says_why() {
    let silent: Vec<String> = rust_lines_with("", &["#[ignore"])
        .into_iter()
        .filter(|line| !line.contains("#[ignore = \""))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn nothing_is_left_undone() {
    let lines = rust_lines_with("", &["todo!", "unimplemented!", "dbg!"]);
    assert!(lines.is_empty(), "{lines:#?}");
}
