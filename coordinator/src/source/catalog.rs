//! What the official data sets are: their files, sizes, sums and sources.

use std::io::{self, Write};
use std::path::Path;

use bytesize::ByteSize;

use super::checksum::Sha256Sum;
use super::examples::Shape;
use super::folder;
use super::name::DataSetName;

/// One file of a data set. Its sources give it gzipped; raw and any other gzip of it are as good.
#[derive(Clone, Copy, Debug)]
pub struct FileEntry {
    /// The raw file's name; the gzipped one adds `.gz`.
    pub name: &'static str,
    /// The raw file's size.
    pub bytes: u64,
    /// The raw file's sum.
    pub sha256: Sha256Sum,
    /// The size of the gzipped file that the sources give.
    pub gz_bytes: u64,
    /// The sum of the gzipped file that the sources give, where it is known.
    pub gz_sha256: Option<Sha256Sum>,
}

/// A data set as a system package installs it.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// The Debian package.
    pub package: &'static str,
    /// Where it puts the files.
    pub folder: &'static str,
}

/// A data set of four IDX files.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// Training images, training labels, test images, test labels.
    pub files: [FileEntry; 4],
    /// Official sources, each a folder's address ending in `/`, to be tried in this order.
    pub mirrors: &'static [&'static str],
    /// The system package that has it, if one does.
    pub installed: Option<Installed>,
    /// The shape of an image.
    pub shape: Shape,
    /// How many classes there are.
    pub classes: usize,
    /// How many training images there are.
    pub training_samples: u32,
}

impl Official {
    /// The size of all files together as they are downloaded.
    pub fn download_size(&self) -> ByteSize {
        ByteSize(self.files.iter().map(|file| file.gz_bytes).sum())
    }
}

/// The files and sources of `name`; `None` for iris, which is part of the program.
pub fn official(name: DataSetName) -> Option<&'static Official> {
    match name {
        DataSetName::Mnist => Some(&MNIST),
        DataSetName::FashionMnist => Some(&FASHION_MNIST),
        DataSetName::Iris => None,
    }
}

/// Writes one line for every known data set: its name, its size, and where it is or how to get it.
pub fn list(data_dir: &Path, out: &mut impl Write) -> io::Result<()> {
    for name in DataSetName::ALL {
        let Some(official) = official(name) else {
            writeln!(out, "{name:<14} 120 + 30 rows 4x1x1           part of this program")?;
            continue;
        };
        write!(out, "{name:<14} 60000 + 10000 images {}  ", official.shape)?;
        match folder::find(name, data_dir) {
            Ok(files) => writeln!(out, "in {}", files.folder().display())?,
            Err(_) => writeln!(
                out,
                "not here: `coordinator data fetch {name}` downloads {} to {}",
                official.download_size().display().si(),
                folder::own(name, data_dir).display(),
            )?,
        }
    }
    Ok(())
}

const IMAGE: Shape = Shape { channels: 1, height: 28, width: 28 };

static MNIST: Official = Official {
    files: [
        FileEntry {
            name: "train-images-idx3-ubyte",
            bytes: 47_040_016,
            sha256: sum("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            gz_bytes: 9_912_422,
            gz_sha256: Some(sum("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")),
        },
        FileEntry {
            name: "train-labels-idx1-ubyte",
            bytes: 60_008,
            sha256: sum("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            gz_bytes: 28_881,
            gz_sha256: Some(sum("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")),
        },
        FileEntry {
            name: "t10k-images-idx3-ubyte",
            bytes: 7_840_016,
            sha256: sum("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            gz_bytes: 1_648_877,
            gz_sha256: Some(sum("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")),
        },
        FileEntry {
            name: "t10k-labels-idx1-ubyte",
            bytes: 10_008,
            sha256: sum("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
            gz_bytes: 4_542,
            gz_sha256: Some(sum("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")),
        },
    ],
    // LeCun's own site no longer gives the files; these two copies are kept by PyTorch and by the CVDF.
    mirrors: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    installed: None,
    shape: IMAGE,
    classes: 10,
    training_samples: 60_000,
};

// The sums of the raw files are those of the Debian package's. Its gzip files were packed without the file's
// name in their header, so they are shorter than the official ones by the name's length and one.
static FASHION_MNIST: Official = Official {
    files: [
        FileEntry {
            name: "train-images-idx3-ubyte",
            bytes: 47_040_016,
            sha256: sum("c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            gz_bytes: 26_421_880,
            gz_sha256: None,
        },
        FileEntry {
            name: "train-labels-idx1-ubyte",
            bytes: 60_008,
            sha256: sum("bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            gz_bytes: 29_515,
            gz_sha256: None,
        },
        FileEntry {
            name: "t10k-images-idx3-ubyte",
            bytes: 7_840_016,
            sha256: sum("5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            gz_bytes: 4_422_102,
            gz_sha256: None,
        },
        FileEntry {
            name: "t10k-labels-idx1-ubyte",
            bytes: 10_008,
            sha256: sum("0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
            gz_bytes: 5_148,
            gz_sha256: None,
        },
    ],
    // The second has no HTTPS; the sums above make that harmless.
    mirrors: &[
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ],
    installed: Some(Installed {
        package: "dataset-fashion-mnist",
        folder: "/usr/share/datasets/fashion-mnist",
    }),
    shape: IMAGE,
    classes: 10,
    training_samples: 60_000,
};

const fn sum(text: &str) -> Sha256Sum {
    Sha256Sum::from_hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic;

    #[test]
    fn the_list_says_where_a_set_is_or_how_to_get_it() {
        let dir = synthetic::Set::default().write([true; 4]);
        let mut text = Vec::new();
        list(dir.path(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), DataSetName::ALL.len());
        assert!(text.contains(&format!("in {}", dir.path().join("mnist").display())), "{text}");

        let nowhere = tempfile::tempdir().unwrap();
        let mut text = Vec::new();
        list(nowhere.path(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("`coordinator data fetch mnist` downloads 11.6 MB to"), "{text}");
    }

    #[test]
    fn every_source_is_a_folder() {
        for official in DataSetName::ALL.into_iter().filter_map(official) {
            assert!(official.mirrors.iter().all(|mirror| mirror.ends_with('/')));
        }
    }
}
