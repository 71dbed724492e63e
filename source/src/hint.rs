//! What a user types to get a data set.

use std::borrow::Cow;
use std::path::Path;

use super::name::DataSetName;

/// The folder of data sets where none is named.
pub const DATA_FOLDER: &str = "datasets";

/// The command that gets `name` to the folder `data_dir`, which it names unless it is [`DATA_FOLDER`].
pub fn fetch_command(name: DataSetName, data_dir: &Path) -> String {
    let command = format!("coordinator data fetch {name}");
    if data_dir == Path::new(DATA_FOLDER) {
        return command;
    }
    let folder = data_dir.display().to_string();
    // A name that no shell takes is shown as it is.
    let folder = shlex::try_quote(&folder).unwrap_or(Cow::Borrowed(&folder));
    format!("{command} --data {folder}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_repeats_the_folder_as_a_shell_takes_it() {
        let command = |folder: &str| fetch_command(DataSetName::Mnist, folder.as_ref());
        assert_eq!(command("datasets"), "coordinator data fetch mnist");
        assert_eq!(command("/srv/data"), "coordinator data fetch mnist --data /srv/data");
        assert_eq!(command("my data"), "coordinator data fetch mnist --data 'my data'");
    }
}
