//! The commands that stand in documents, in their order.

use std::fs;

use strata_tests::workspace;

/// What a command begins with.
const PROGRAMS: [&str; 8] = ["coordinator", "worker", "cargo", "pip", "python", "curl", "export", "STRATA_"];
/// Documents, and folders of them, with what their files end in.
const DOCUMENTS: [(&str, &str); 5] = [
    ("README.md", ".md"),
    ("docs/your-data.md", ".md"),
    ("python/README.md", ".md"),
    ("python/examples", ".py"),
    ("configs", ".toml"),
];

/// A document with its commands.
pub struct Document {
    /// Where it stands, from the workspace on.
    pub name: String,
    /// Each on one line, without what is remarked about it.
    pub commands: Vec<String>,
}

/// All documents that have commands.
pub fn documents() -> Vec<Document> {
    let mut found = Vec::new();
    for (place, ending) in DOCUMENTS {
        let path = workspace().join(place);
        let mut names = vec![place.to_owned()];
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry"));
            names = entries.map(|entry| format!("{place}/{}", entry.file_name().display())).collect();
            names.retain(|name| name.ends_with(ending));
            names.sort();
        }
        for name in names {
            let text = fs::read_to_string(workspace().join(&name)).expect("a document");
            let commands = commands(&text, ending);
            found.push(Document { name, commands });
        }
    }
    found.retain(|document| !document.commands.is_empty());
    found
}

/// Commands in blocks of a shell, in lines that are set in, and in comments that are.
fn commands(text: &str, ending: &str) -> Vec<String> {
    let mut within = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = match ending {
            ".md" if line.starts_with("```") => {
                within = line == "```sh";
                continue;
            }
            ".md" if within => Some(line),
            ".md" | ".py" => line.strip_prefix("    "),
            _ => line.strip_prefix("#   "),
        };
        let command = line.and_then(|line| line.split(" #").next()).map(str::trim);
        let begins = |command: &&str| {
            let command = command.trim_start_matches("target/release/");
            PROGRAMS.iter().any(|program| {
                command
                    .strip_prefix(program)
                    .is_some_and(|rest| rest.starts_with(' ') || program.ends_with('_'))
            })
        };
        found.extend(command.filter(begins).map(str::to_owned));
    }
    found
}
