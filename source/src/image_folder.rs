//! A user's folder of images: the folders in it are labels, or it has none.

use std::path::Path;

use rayon::prelude::*;

use super::bad_file::BadFile;
use super::error::DataError;
use super::folder_labels::labels;
use super::image_files::ImageFiles;
use super::image_options::ImageOptions;
use super::input::{ImageInput, InputKind};
use super::opened::{Input, Reader};
use super::picture::{self, Header};
use super::shape::{ChannelScale, Shape};
use super::walk::{self, Found};

/// The shorter side of images that are all of one size, at most, where no size is configured.
const SHORTER_SIDE: u32 = 96;
/// The side of images of different sizes, at most, where no size is configured.
const SIDE: u32 = 64;
/// What files of images end in. The last ones are known and not read.
const ENDINGS: [&str; 10] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "heic", "avif"];

/// Whether `path` is called like an image.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// What the images in a folder, or below, are; those that are broken are left out of account, if they may be.
pub fn kind(path: &Path, options: &ImageOptions, skip_broken: bool) -> Result<InputKind, DataError> {
    let files = images(path)?;
    let shape = shape(path, &files, options, skip_broken)?;
    let scales = options.scales().unwrap_or_else(|| vec![ChannelScale::UNIT; shape.channels]);
    assert_eq!(scales.len(), shape.channels, "checked when it was configured");
    Ok(InputKind::Images(ImageInput { shape, scales }))
}

/// The images of a folder in the shape and the scale of `input`; classes are what the folders in it are called.
pub fn open(path: &Path, input: &ImageInput) -> Result<Input, DataError> {
    if !matches!(input.shape.channels, 1 | 3) {
        let expected = format!("an array of images {}", input.shape);
        return Err(BadFile::new(path, "files of images, which are grey or in colour", expected).into());
    }
    let files = images(path)?;
    let (labels, classes) = labels(path, &files)?;
    let files = image_files(path, &files, input.shape, &input.scales);
    let names = files.names().clone();
    Ok(Input::new(Reader::Images(files), Some(names), labels, classes))
}

/// Files that [`images`] has found at `path`.
fn image_files(path: &Path, files: &[Found], shape: Shape, scales: &[ChannelScale]) -> ImageFiles {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    ImageFiles::new(folder, files.iter().map(|file| file.path.as_path()), shape, scales)
}

/// The images in a folder and below, in the order of their names; a single one where `path` is a file.
fn images(path: &Path) -> Result<Vec<Found>, BadFile> {
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![Found { path: path.to_owned(), name }]);
    }
    let files = walk::files(path)?;
    let found = files.len();
    let images: Vec<Found> = files.into_iter().filter(|file| is_image(&file.path)).collect();
    if images.is_empty() {
        let found = format!("{found} files of which none is called *.png, *.jpg, *.jpeg, *.webp or *.bmp");
        return Err(BadFile::new(path, found, "a folder of images"));
    }
    Ok(images)
}

/// The shape that images are brought to.
fn shape(path: &Path, files: &[Found], options: &ImageOptions, skip_broken: bool) -> Result<Shape, BadFile> {
    if let ImageOptions { height: Some(height), width: Some(width), channels: Some(channels), .. } = *options
    {
        return Ok(Shape { height: height as usize, width: width as usize, channels: channels as usize });
    }
    let headers: Vec<_> = files.par_iter().map(|file| picture::header(&file.path)).collect();
    let kept = headers.into_iter().filter(|header| !skip_broken || header.is_ok());
    let headers = kept.collect::<Result<Vec<Header>, _>>()?;
    if headers.is_empty() {
        return Err(BadFile::new(path, "no image that can be read", "one at least"));
    }
    let (height, width) = size(&headers);
    let channels = if headers.iter().all(|header| header.grey) { 1 } else { 3 };
    Ok(Shape {
        height: options.height.unwrap_or(height) as usize,
        width: options.width.unwrap_or(width) as usize,
        channels: options.channels.unwrap_or(channels) as usize,
    })
}

/// The height and width of images that nothing is said of.
fn size(headers: &[Header]) -> (u32, u32) {
    let Header { height, width, .. } = headers[0];
    if headers.iter().all(|header| (header.height, header.width) == (height, width)) {
        let shorter = height.min(width);
        let side =
            |side: u32| (u64::from(side) * u64::from(SHORTER_SIDE)).div_ceil(u64::from(shorter)) as u32;
        return if shorter <= SHORTER_SIDE { (height, width) } else { (side(height), side(width)) };
    }
    let mut shorter: Vec<u32> = headers.iter().map(|header| header.height.min(header.width)).collect();
    shorter.sort_unstable();
    let side = shorter[shorter.len() / 2].min(SIDE);
    (side, side)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::image::{GrayImage, Luma, RgbImage};
    use scff::seed::Seed;
    use tempfile::TempDir;

    use super::*;
    use crate::examples::Examples;
    use crate::files::data_set;
    use crate::input::InputSpec;
    use crate::input_source::InputSource;
    use crate::open::open_input;
    use crate::room::Room;
    use crate::selection::FileSelection;

    /// Grey images of one value each, 4x4.
    fn folder(files: &[(&str, u8)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for &(name, value) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            GrayImage::from_pixel(4, 4, Luma([value])).save(path).unwrap();
        }
        dir
    }

    fn selection(dir: &TempDir, test: Option<f64>) -> FileSelection {
        FileSelection { test, ..FileSelection::new(dir.path().to_owned(), Seed(1)) }
    }

    fn first(examples: &Examples, index: u32) -> f32 {
        let mut out = vec![0.0; examples.shape().len()];
        examples.write(index, &mut out).unwrap();
        out[0]
    }

    #[test]
    fn folders_are_labels_and_a_share_of_each_tests() {
        let names: Vec<String> = (0..20)
            .map(|index| format!("{}/{index:02}.png", if index % 2 == 0 { "cats" } else { "dogs" }))
            .collect();
        let files: Vec<(&str, u8)> =
            names.iter().zip(0..).map(|(name, value)| (name.as_str(), value)).collect();
        let set = data_set(&selection(&folder(&files), Some(0.2)), &Room::boundless()).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.standardize), (16, 4, true));
        assert_eq!(set.input.classes, ["cats", "dogs"]);
        assert_eq!(set.input.shape(), Shape { height: 4, width: 4, channels: 1 });
        assert_eq!(set.test.labels(), [0, 0, 1, 1]);
        for part in [&set.train, &set.test] {
            for (index, &label) in (0..).zip(part.labels()) {
                let name = part.name(index);
                assert!(name.starts_with(["cats", "dogs"][label as usize]), "{name}");
                let value = (first(part, index) * 255.0).round() as u32;
                assert!(name.ends_with(&format!("/{value:02}.png")), "{name} {value}");
            }
        }
    }

    #[test]
    fn images_of_one_folder_have_no_labels_and_all_are_learned_from() {
        let set = data_set(
            &selection(&folder(&[("a.png", 1), ("b.png", 2), ("c.png", 3)]), None),
            &Room::boundless(),
        )
        .unwrap();
        assert_eq!(
            (set.train.len(), set.test.len(), set.unlabeled.as_ref().map(Examples::len)),
            (0, 0, Some(3))
        );
        assert!(set.input.classes.is_empty() && set.unlabeled.unwrap().labels().is_empty());
    }

    #[test]
    fn images_beside_folders_of_images_are_refused() {
        let dir = folder(&[("cats/a.png", 1), ("dogs/b.png", 2), ("c.png", 3)]);
        let error = data_set(&selection(&dir, None), &Room::boundless()).unwrap_err().to_string();
        assert!(error.contains("/c.png: found beside folders of such files in"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("notes.txt"), "").unwrap();
        let error = data_set(&selection(&empty, None), &Room::boundless()).unwrap_err().to_string();
        assert!(error.contains("found 1 files of which none is called *.png"), "{error}");
    }

    #[test]
    fn images_of_different_sizes_and_colours_are_brought_to_one_shape() {
        let dir = folder(&[("a.png", 1), ("b.png", 2)]);
        RgbImage::new(200, 100).save(dir.path().join("c.png")).unwrap();
        let shape_of = |images: ImageOptions| {
            data_set(&FileSelection { images, ..selection(&dir, None) }, &Room::boundless())
                .unwrap()
                .input
                .shape()
                .to_string()
        };
        assert_eq!(shape_of(ImageOptions::default()), "4x4x3");
        let options = ImageOptions { height: Some(8), channels: Some(1), ..ImageOptions::default() };
        assert_eq!(shape_of(options), "8x4x1");
        let header = |height, width| Header { height, width, grey: true };
        assert_eq!(size(&[header(100, 200), header(100, 200)]), (96, 192));
        assert_eq!(size(&[header(100, 200), header(100, 201)]), (64, 64));
    }

    #[test]
    fn of_several_broken_files_the_first_is_told() {
        let dir = folder(&[("a.png", 1)]);
        for name in ["c.png", "b.png"] {
            fs::write(dir.path().join(name), "broken").unwrap();
        }
        let error = data_set(&selection(&dir, None), &Room::boundless()).unwrap_err().to_string();
        assert!(error.contains("/b.png: found bytes"), "{error}");
    }

    /// The images of a folder for a model of grey images 2x2 and these classes.
    fn opened(path: &Path, classes: &[&str]) -> Input {
        let scales = vec![ChannelScale { mean: 0.0, deviation: 0.5 }];
        let shape = Shape { height: 2, width: 2, channels: 1 };
        let classes = classes.iter().map(|&class| class.to_owned()).collect();
        let spec = InputSpec { kind: InputKind::Images(ImageInput { shape, scales }), classes };
        open_input(&InputSource::Path(path.to_owned()), "nowhere".as_ref(), &spec).unwrap()
    }

    #[test]
    fn inputs_are_scaled_as_the_model_says_and_their_labels_are_its_classes() {
        let dir = folder(&[("dogs/a.png", 255), ("emus/b.png", 51)]);
        let known = opened(dir.path(), &["cats", "dogs", "emus"]);
        assert_eq!((known.labels(), known.classes().len()), (&[1, 2][..], 3));
        assert_eq!((first(&known.read(0..2).unwrap(), 0), known.name(1)), (2.0, "emus/b.png".into()));
        let unknown = opened(dir.path(), &["cats", "dogs"]);
        assert_eq!(unknown.labels(), [0, 1]);
        assert_eq!(unknown.classes(), ["dogs", "emus"]);
    }

    #[test]
    fn a_range_of_an_input_is_read_from_its_files_alone() {
        let dir = folder(&[("a.png", 0), ("b.png", 51), ("c.png", 255)]);
        let input = opened(dir.path(), &[]);
        fs::write(dir.path().join("a.png"), "broken").unwrap();
        let read = input.read(1..3).unwrap();
        assert_eq!((read.len(), first(&read, 0), first(&read, 1), read.labels()), (2, 0.4, 2.0, &[][..]));
        assert!(input.read(0..1).unwrap_err().to_string().contains("a.png"));
        let alone = opened(&dir.path().join("c.png"), &[]);
        assert_eq!(
            (alone.len(), alone.name(0), first(&alone.read(0..1).unwrap(), 0)),
            (1, "c.png".into(), 2.0)
        );
    }
}
