//! What the official data sets are: their files, sizes, sums and sources.

use std::sync::LazyLock;

use bytesize::ByteSize;

use super::checksum::Sha256Sum;
use super::data_set::TrainingSamples;
use super::fsdd;
use super::input::{ImageInput, InputKind, InputSpec};
use super::layout::{Layout, Lengths};
use super::name::DataSetName;
use super::shape::{ChannelScale, Shape};

pub use super::file_entry::FileEntry;

/// A file that its sources give gzipped, under its name with `.gz`; raw and any other gzip of it are as good.
#[derive(Clone, Copy, Debug)]
pub struct GzippedFile {
    /// The raw file.
    pub file: FileEntry,
    /// The size of the gzipped file that the sources give.
    pub gz_bytes: u64,
    /// The sum of the gzipped file that the sources give, where it is known.
    pub gz_sha256: Option<Sha256Sum>,
}

/// A `.tar.gz` file.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    /// The file itself.
    pub packed: FileEntry,
    /// Whether its sources pack it anew now and then: then its size is what it has at most, and what its files are is told
    /// by their own sums.
    pub repacked: bool,
    /// The folder in it that holds the files.
    pub folder: &'static str,
    /// The files of it that are wanted.
    pub files: &'static [FileEntry],
}

/// How the sources of a data set give its files.
#[derive(Clone, Copy, Debug)]
pub enum Supply {
    /// One by one.
    Gzipped(&'static [GzippedFile]),
    /// All in one.
    Archive(Archive),
}

/// A data set as a system package installs it.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// The Debian package.
    pub package: &'static str,
    /// Where it puts the files.
    pub folder: &'static str,
}

/// A data set of files.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// Its folder in the user's data folder.
    pub folder: &'static str,
    /// Other places in the data folder where programs and people put its files, as components that may be spelt in
    /// other ways. Only files whose names no other data set has may lie in the data folder itself, the empty place.
    pub places: &'static [&'static str],
    /// Its files.
    pub supply: Supply,
    /// Official sources, each a folder's address ending in `/`, to be tried in this order.
    pub mirrors: &'static [&'static str],
    /// The system package that has it, if one does.
    pub installed: Option<Installed>,
    /// The shape of an image; of recordings, as by default, that of the longest.
    pub shape: Shape,
    /// How long recordings are.
    pub lengths: Lengths,
    /// What the bytes of each channel become; of recordings, nothing.
    pub scales: &'static [ChannelScale],
    /// What its classes are called, in the order of its labels.
    pub class_names: &'static [&'static str],
    /// How many training samples there are.
    pub training: TrainingSamples,
    /// How many test samples there are.
    pub test_samples: u32,
}

impl Official {
    /// The files, unpacked, in the order in which loaders take them.
    pub fn files(&self) -> Vec<&'static FileEntry> {
        match self.supply {
            Supply::Gzipped(files) => files.iter().map(|gzipped| &gzipped.file).collect(),
            Supply::Archive(archive) => archive.files.iter().collect(),
        }
    }

    /// The size of all that is downloaded.
    pub fn download_size(&self) -> ByteSize {
        ByteSize(match self.supply {
            Supply::Gzipped(files) => files.iter().map(|file| file.gz_bytes).sum(),
            Supply::Archive(archive) => archive.packed.bytes,
        })
    }

    /// Whether it comes in an archive whose size is known only when it is there.
    pub fn is_repacked(&self) -> bool {
        matches!(self.supply, Supply::Archive(Archive { repacked: true, .. }))
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// How its images are read.
    pub fn images(&self) -> InputSpec {
        let kind = InputKind::Images(ImageInput { shape: self.shape, scales: self.scales.to_vec() });
        InputSpec { kind, classes: self.class_names.iter().map(|&name| name.to_owned()).collect() }
    }

    /// What all of its samples have in common.
    pub fn layout(&self) -> Layout {
        Layout { shape: self.shape, lengths: self.lengths }
    }

    /// What is in it, in words.
    pub fn contents(&self) -> String {
        let TrainingSamples { labelled, unlabeled } = self.training;
        let contents = match self.lengths {
            Lengths::Alike => format!("{labelled} + {} images {}", self.test_samples, self.shape),
            Lengths::Frames { .. } => {
                let Shape { height: longest, channels, .. } = self.shape;
                format!("{labelled} + {} recordings, up to {longest} frames of {channels}", self.test_samples)
            }
        };
        if unlabeled > 0 { format!("{contents}, {unlabeled} unlabeled") } else { contents }
    }
}

/// The files and sources of `name`; `None` for iris, which is part of the program, and for a user's folder.
pub fn official(name: DataSetName) -> Option<&'static Official> {
    match name {
        DataSetName::Mnist => Some(&MNIST),
        DataSetName::FashionMnist => Some(&FASHION_MNIST),
        DataSetName::Iris | DataSetName::WavFolder => None,
        DataSetName::Cifar10 => Some(&CIFAR_10),
        DataSetName::Stl10 => Some(&STL_10),
        DataSetName::Fsdd => Some(&FSDD),
    }
}

/// The classes of digits, written or spoken.
const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// An image of MNIST or Fashion-MNIST.
const GREY: Shape = Shape { height: 28, width: 28, channels: 1 };

static MNIST: Official = Official {
    folder: "mnist",
    // torchvision's, TensorFlow's and Kaggle's.
    places: &["mnist", "mnist/raw", "mnist/mnist/raw", "mnist-data", "mnist-dataset"],
    // Training images, training labels, test images, test labels.
    supply: Supply::Gzipped(&[
        GzippedFile {
            file: file(
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            gz_bytes: 9_912_422,
            gz_sha256: Some(sum("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")),
        },
        GzippedFile {
            file: file(
                "train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            gz_bytes: 28_881,
            gz_sha256: Some(sum("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")),
        },
        GzippedFile {
            file: file(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            gz_bytes: 1_648_877,
            gz_sha256: Some(sum("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")),
        },
        GzippedFile {
            file: file(
                "t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            gz_bytes: 4_542,
            gz_sha256: Some(sum("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")),
        },
    ]),
    // LeCun's own site no longer gives the files; these two copies are kept by PyTorch and by the CVDF.
    mirrors: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    installed: None,
    shape: GREY,
    lengths: Lengths::Alike,
    scales: &[ChannelScale::UNIT],
    class_names: DIGITS,
    training: TrainingSamples::labelled(60_000),
    test_samples: 10_000,
};

// The sums of the raw files are those of the Debian package's. Its gzip files were packed without the file's
// name in their header, so they are shorter than the official ones by the name's length and one.
static FASHION_MNIST: Official = Official {
    folder: "fashion-mnist",
    // torchvision's; Keras has the folder's own name.
    places: &["fashion-mnist", "fashion-mnist/raw", "fashion-mnist/fashion-mnist/raw"],
    // Training images, training labels, test images, test labels.
    supply: Supply::Gzipped(&[
        GzippedFile {
            file: file(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            gz_bytes: 26_421_880,
            gz_sha256: None,
        },
        GzippedFile {
            file: file(
                "train-labels-idx1-ubyte",
                60_008,
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            gz_bytes: 29_515,
            gz_sha256: None,
        },
        GzippedFile {
            file: file(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            gz_bytes: 4_422_102,
            gz_sha256: None,
        },
        GzippedFile {
            file: file(
                "t10k-labels-idx1-ubyte",
                10_008,
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            gz_bytes: 5_148,
            gz_sha256: None,
        },
    ]),
    // The second has no HTTPS; the sums above make that harmless.
    mirrors: &[
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ],
    installed: Some(Installed {
        package: "dataset-fashion-mnist",
        folder: "/usr/share/datasets/fashion-mnist",
    }),
    shape: GREY,
    lengths: Lengths::Alike,
    scales: &[ChannelScale::UNIT],
    class_names: &[
        "t-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ],
    training: TrainingSamples::labelled(60_000),
    test_samples: 10_000,
};

static CIFAR_10: Official = Official {
    folder: "cifar-10-batches-bin",
    places: &[
        "cifar-10-batches-bin",
        "cifar-10/cifar-10-batches-bin",
        "cifar-10-binary/cifar-10-batches-bin",
        "cifar-10",
        "",
    ],
    supply: Supply::Archive(Archive {
        packed: file(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        repacked: false,
        folder: "cifar-10-batches-bin",
        // Five of training images, one of test images.
        files: &[
            file(
                "data_batch_1.bin",
                30_730_000,
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            ),
            file(
                "data_batch_2.bin",
                30_730_000,
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            ),
            file(
                "data_batch_3.bin",
                30_730_000,
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            ),
            file(
                "data_batch_4.bin",
                30_730_000,
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            ),
            file(
                "data_batch_5.bin",
                30_730_000,
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            ),
            file(
                "test_batch.bin",
                30_730_000,
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            ),
        ],
    }),
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    installed: None,
    shape: Shape { height: 32, width: 32, channels: 3 },
    lengths: Lengths::Alike,
    scales: &[
        ChannelScale { mean: 0.4914, deviation: 0.2023 },
        ChannelScale { mean: 0.4822, deviation: 0.1994 },
        ChannelScale { mean: 0.4465, deviation: 0.2010 },
    ],
    class_names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    training: TrainingSamples::labelled(50_000),
    test_samples: 10_000,
};

// Only the archive's sum is published; its files are known by their sizes.
static STL_10: Official = Official {
    folder: "stl10_binary",
    places: &["stl10_binary", "stl10/stl10_binary", "stl10", ""],
    supply: Supply::Archive(Archive {
        packed: file(
            "stl10_binary.tar.gz",
            2_640_397_119,
            "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
        ),
        repacked: false,
        folder: "stl10_binary",
        // Training images, training labels, test images, test labels, unlabeled images.
        files: &[
            FileEntry { name: "train_X.bin", bytes: 138_240_000, sha256: None },
            FileEntry { name: "train_y.bin", bytes: 5_000, sha256: None },
            FileEntry { name: "test_X.bin", bytes: 221_184_000, sha256: None },
            FileEntry { name: "test_y.bin", bytes: 8_000, sha256: None },
            FileEntry { name: "unlabeled_X.bin", bytes: 2_764_800_000, sha256: None },
        ],
    }),
    // The second has no HTTPS; the archive's sum makes that harmless.
    mirrors: &["https://ai.stanford.edu/~acoates/stl10/", "http://ai.stanford.edu/~acoates/stl10/"],
    installed: None,
    shape: Shape { height: 96, width: 96, channels: 3 },
    lengths: Lengths::Alike,
    scales: &[
        ChannelScale { mean: 0.4914, deviation: 0.2471 },
        ChannelScale { mean: 0.4822, deviation: 0.2435 },
        ChannelScale { mean: 0.4465, deviation: 0.2616 },
    ],
    class_names: &["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
    training: TrainingSamples { labelled: 5_000, unlabeled: 100_000 },
    test_samples: 8_000,
};

/// The commit of FSDD's repository that is taken: the last one, of 3,000 recordings.
macro_rules! fsdd_commit {
    () => {
        "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
    };
}

// GitHub packs archives when they are asked for, so only the sums of the files in it are known.
static FSDD: LazyLock<Official> = LazyLock::new(|| Official {
    folder: "fsdd/recordings",
    places: &[
        "fsdd/recordings",
        "fsdd",
        "free-spoken-digit-dataset/recordings",
        "free-spoken-digit-dataset-master/recordings",
        concat!("free-spoken-digit-dataset-", fsdd_commit!(), "/recordings"),
        "recordings",
    ],
    supply: Supply::Archive(Archive {
        // The files take 21 MB.
        packed: FileEntry { name: concat!(fsdd_commit!(), ".tar.gz"), bytes: 64 << 20, sha256: None },
        repacked: true,
        folder: concat!("free-spoken-digit-dataset-", fsdd_commit!(), "/recordings"),
        files: &fsdd::FILES,
    }),
    mirrors: &["https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"],
    installed: None,
    shape: Shape { height: 183, width: 1, channels: 39 },
    lengths: Lengths::Frames { mean: 35.5 },
    scales: &[],
    class_names: DIGITS,
    training: TrainingSamples::labelled(2_700),
    test_samples: 300,
});

/// A file whose sum is known.
const fn file(name: &'static str, bytes: u64, sha256: &str) -> FileEntry {
    FileEntry { name, bytes, sha256: Some(sum(sha256)) }
}

const fn sum(text: &str) -> Sha256Sum {
    Sha256Sum::from_hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_a_folder() {
        for official in DataSetName::ALL.into_iter().filter_map(official) {
            assert!(official.mirrors.iter().all(|mirror| mirror.ends_with('/')));
        }
    }

    #[test]
    fn every_channel_of_an_image_has_a_scale() {
        for official in DataSetName::ALL.into_iter().filter_map(official) {
            let channels = if official.lengths == Lengths::Alike { official.shape.channels } else { 0 };
            assert_eq!(official.scales.len(), channels);
        }
    }

    #[test]
    fn the_sizes_of_archived_files_are_those_of_their_images_and_labels() {
        let sizes = |name| official(name).unwrap().files().iter().map(|file| file.bytes).collect::<Vec<_>>();
        assert_eq!(sizes(DataSetName::Cifar10), [10_000 * (1 + 32 * 32 * 3); 6]);
        let image = 96 * 96 * 3;
        let expected = [5_000 * image, 5_000, 8_000 * image, 8_000, 100_000 * image];
        assert_eq!(sizes(DataSetName::Stl10), expected);
    }
}
