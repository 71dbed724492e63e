//! What can be wrong with a data set's files.

use std::io;
use std::path::PathBuf;

use super::bad_file::BadFile;
use super::folder::MissingFile;
use super::magic::Kind;
use super::partition::PartitionError;
use super::read_error::ReadError;

/// A data set that cannot be loaded, with the file at fault, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is not there.
    #[error(transparent)]
    Missing(#[from] MissingFile),
    /// The operating system does not give the file.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A gzip file breaks off or is damaged.
    #[error("{}: the gzip data are cut off or damaged after {unpacked} unpacked bytes, \
             expected {expected} ({cause})", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// How much could be unpacked.
        unpacked: u64,
        /// How much it should unpack to at most (its IDX header, if that is cut off).
        expected: u64,
        /// What the decoder said.
        cause: io::Error,
    },
    /// Not an IDX file of this kind.
    #[error("{}: the magic number is {found}{}, expected {} for {expected}",
            path.display(), what_it_is(*found), expected.magic())]
    Magic {
        /// The file.
        path: PathBuf,
        /// The first four bytes as a big-endian number.
        found: u32,
        /// What the file should hold.
        expected: Kind,
    },
    /// Fewer bytes than the header is long, or than it announces.
    #[error("{}: the file ends after {found} bytes, expected {expected}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length, unpacked.
        found: u64,
        /// The length it should have.
        expected: u64,
    },
    /// More bytes than the header announces.
    #[error("{}: there are more bytes than the {expected} expected from its header", path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
        /// The length it should have, unpacked.
        expected: u64,
    },
    /// A file of records that is empty.
    #[error("{}: the file is empty, expected 1 to {limit} records of {record} bytes", path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
        /// Bytes of a record.
        record: usize,
        /// How many records the official file has.
        limit: usize,
    },
    /// A file of records that is longer than the official one.
    #[error("{}: there are more bytes than those of the expected {limit} records of {record} bytes",
            path.display())]
    TooManyRecords {
        /// The file.
        path: PathBuf,
        /// Bytes of a record.
        record: usize,
        /// How many records the official file has.
        limit: usize,
    },
    /// A file of records that ends within one.
    #[error("{}: the file ends after {found} bytes, expected a multiple of the {record} bytes of a record",
            path.display())]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Its length, unpacked.
        found: usize,
        /// Bytes of a record.
        record: usize,
    },
    /// An item count that no such data set has.
    #[error("{}: the header announces {found} {kind}, expected 1 to {limit}", path.display())]
    Items {
        /// The file.
        path: PathBuf,
        /// The count in the header.
        found: u32,
        /// What it counts.
        kind: Kind,
        /// The largest count accepted.
        limit: u32,
    },
    /// Images of another size.
    #[error("{}: the images are {height}x{width}, expected {expected_height}x{expected_width}",
            path.display())]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// Height in the header.
        height: u32,
        /// Width in the header.
        width: u32,
        /// Height the data set has.
        expected_height: usize,
        /// Width the data set has.
        expected_width: usize,
    },
    /// A label that is no class.
    #[error("{}: label {label} of item {item}, expected {first} to {last}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Which item, counted from 0.
        item: usize,
        /// Its label.
        label: u8,
        /// The label of the first class.
        first: u8,
        /// The label of the last class.
        last: u8,
    },
    /// Decoded samples that do not come to lie in their folder, or do not come from there.
    #[error("{}: {cause}; {} are needed for decoded samples: --data-cache names another folder for them, and what lies in it may be deleted",
            path.display(), bytesize::ByteSize(*bytes).display().si())]
    Decoded {
        /// The folder.
        path: PathBuf,
        /// Bytes of the samples.
        bytes: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// A file that nothing can be learned from.
    #[error(transparent)]
    File(#[from] BadFile),
    /// A sample that does not come from its file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Recordings cannot be split as is wanted.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// Images and labels that do not belong together.
    #[error("{} holds {labels} labels, expected {images} as {} holds images",
            label_file.display(), image_file.display())]
    Count {
        /// The file of images.
        image_file: PathBuf,
        /// Its number of images.
        images: usize,
        /// The file of labels.
        label_file: PathBuf,
        /// Its number of labels.
        labels: usize,
    },
}

/// What a file with the wrong magic number seems to be.
fn what_it_is(magic: u32) -> &'static str {
    match Kind::of(magic) {
        Some(Kind::Images) => " (images; are the files of images and labels swapped?)",
        Some(Kind::Labels) => " (labels; are the files of images and labels swapped?)",
        None => "",
    }
}
