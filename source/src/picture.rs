//! An image file: its header, and its pixels in the shape that is wanted.
//!
//! Only what decodes to the same bytes on all processors is used: the PNG, BMP and WebP decoders compute with whole numbers,
//! the JPEG decoder is compiled without its vector kernels, and images are resized in single precision, one operation after
//! the other. Sizes are checked before pixels are decoded.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use ::image::imageops::{self, FilterType};
use ::image::metadata::Orientation;
use ::image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, guess_format,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::bad_file::BadFile;
use super::checksum::Sha256Sum;
use super::shape::Shape;

/// Bytes of a file, at most.
const FILE_BYTES: u64 = 512 << 20;
/// Pixels of a side, at most.
const SIDE: u32 = 65_535;
/// Pixels of an image, at most: as many as of a camera of 134 megapixels.
const PIXELS: u64 = 1 << 27;

const EXPECTED: &str = "a PNG, JPEG, WebP or BMP image";

/// What a file's header says, once it is turned as its EXIF data say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Whether it is stored in grey.
    pub grey: bool,
}

/// The header of the image at `path`.
pub fn header(path: &Path) -> Result<Header, BadFile> {
    let bytes = read(path)?;
    let Opened { size: (width, height), grey, orientation, .. } = open(path, &bytes)?;
    let (height, width) = if turned(orientation) { (width, height) } else { (height, width) };
    Ok(Header { height, width, grey })
}

/// Writes the image at `path` to `out`, (height, width, channels): turned as its EXIF data say, cropped about its middle to the
/// shape's proportions, and resized. Returns the length and the sum of the file.
pub fn write(path: &Path, shape: Shape, out: &mut [u8]) -> Result<(u64, Sha256Sum), BadFile> {
    assert_eq!(out.len(), shape.len(), "room for an image {shape}");
    let bytes = read(path)?;
    let Opened { decoder, orientation, .. } = open(path, &bytes)?;
    let mut image = decoder.decode().map_err(|cause| refused(path, &cause))?;
    image.apply_orientation(orientation);
    out.copy_from_slice(&pixels(fitted(image, shape), shape));
    Ok((bytes.len() as u64, Sha256Sum::of(&bytes)))
}

/// Writes an image of these pixels, (height, width, channels), to `out` in another shape: cropped about its middle to the shape's
/// proportions, and resized.
///
/// # Panics
/// If one of the two is neither grey nor red, green and blue.
pub fn fit(image: &[u8], stored: Shape, shape: Shape, out: &mut [u8]) {
    assert_eq!((image.len(), out.len()), (stored.len(), shape.len()), "images {stored} and {shape}");
    assert!(matches!((stored.channels, shape.channels), (1 | 3, 1 | 3)), "images {stored} and {shape}");
    let (width, height) = (stored.width as u32, stored.height as u32);
    let image = if stored.channels == 1 {
        GrayImage::from_raw(width, height, image.to_vec()).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, image.to_vec()).map(DynamicImage::ImageRgb8)
    };
    out.copy_from_slice(&pixels(fitted(image.expect("all of its pixels"), shape), shape));
}

fn pixels(image: DynamicImage, shape: Shape) -> Vec<u8> {
    if shape.channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() }
}

fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    let unreadable = |cause| BadFile::new(path, cause, "a file that can be read");
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(BadFile::new(path, "no plain file", EXPECTED));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 {
        0 => Err(BadFile::new(path, "an empty file", EXPECTED)),
        length if length > FILE_BYTES => {
            let expected = format_args!("at most {FILE_BYTES} bytes").to_string();
            Err(BadFile::new(path, format_args!("{} bytes", metadata.len()), expected))
        }
        _ => Ok(bytes),
    }
}

/// What a decoder says, in one line.
fn refused(path: &Path, found: &str) -> BadFile {
    let words: Vec<&str> = found.split_whitespace().collect();
    BadFile::new(path, words.join(" "), EXPECTED)
}

/// A file whose header was read.
struct Opened<'a> {
    decoder: Decoder<'a>,
    /// (width, height) as stored.
    size: (u32, u32),
    grey: bool,
    orientation: Orientation,
}

enum Decoder<'a> {
    Jpeg(Box<JpegDecoder<ZCursor<&'a [u8]>>>),
    Other(Box<dyn ImageDecoder + 'a>),
}

fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<Opened<'a>, BadFile> {
    let bad = |found: String| refused(path, &found);
    let format = guess_format(bytes).map_err(|_| bad("bytes that begin like no such image".to_owned()))?;
    let opened = match format {
        ImageFormat::Jpeg => open_jpeg(bytes).map_err(bad)?,
        ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp => {
            open_other(bytes, format).map_err(|error| bad(error.to_string()))?
        }
        other => return Err(bad(format!("an image in the format {}", other.to_mime_type()))),
    };
    let (width, height) = opened.size;
    let side = width.max(height);
    if side > SIDE || u64::from(width) * u64::from(height) > PIXELS || width.min(height) == 0 {
        let expected = format!("1 to {SIDE} pixels a side, and {PIXELS} at most");
        return Err(BadFile::new(path, format_args!("an image of {width}x{height} pixels"), expected));
    }
    Ok(opened)
}

fn open_jpeg(bytes: &[u8]) -> Result<Opened<'_>, String> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE as usize)
        .set_max_height(SIDE as usize)
        .set_use_unsafe(false)
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("no size")?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let wanted = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok(Opened {
        size: (width as u32, height as u32),
        grey,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        decoder: Decoder::Jpeg(Box::new(decoder)),
    })
}

fn open_other(bytes: &[u8], format: ImageFormat) -> Result<Opened<'_>, ::image::ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE);
    limits.max_image_height = Some(SIDE);
    limits.max_alloc = Some(PIXELS * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    Ok(Opened {
        size: decoder.dimensions(),
        grey: !decoder.color_type().has_color(),
        orientation,
        decoder: Decoder::Other(Box::new(decoder)),
    })
}

impl Decoder<'_> {
    fn decode(self) -> Result<DynamicImage, String> {
        match self {
            Self::Jpeg(mut decoder) => {
                let pixels = decoder.decode().map_err(|error| error.to_string())?;
                let (width, height) = decoder.dimensions().ok_or("no size")?;
                let (width, height) = (width as u32, height as u32);
                let image = if decoder.output_colorspace() == Some(ColorSpace::Luma) {
                    GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8)
                } else {
                    RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
                };
                image.ok_or_else(|| "fewer pixels than its header says".to_owned())
            }
            Self::Other(decoder) => DynamicImage::from_decoder(decoder).map_err(|error| error.to_string()),
        }
    }
}

/// Whether height and width change places.
fn turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The middle of `image` in the proportions of `shape`, as large as can be, at the shape's size.
fn fitted(image: DynamicImage, shape: Shape) -> DynamicImage {
    let (width, height) = (u64::from(image.width()), u64::from(image.height()));
    let (to_width, to_height) = (shape.width as u64, shape.height as u64);
    let rounded = |product: u64, by: u64| ((2 * product + by) / (2 * by)).max(1);
    let (crop_width, crop_height) = if width * to_height > height * to_width {
        (rounded(height * to_width, to_height).min(width), height)
    } else {
        (width, rounded(width * to_height, to_width).min(height))
    };
    let (left, top) = ((width - crop_width) / 2, (height - crop_height) / 2);
    let image = if (crop_width, crop_height) == (width, height) {
        image
    } else {
        image.crop_imm(left as u32, top as u32, crop_width as u32, crop_height as u32)
    };
    if (crop_width, crop_height) == (to_width, to_height) {
        return image;
    }
    // In 8 bits, and without what is transparent.
    let (to_width, to_height) = (to_width as u32, to_height as u32);
    if shape.channels == 1 {
        imageops::resize(&image.into_luma8(), to_width, to_height, FilterType::Triangle).into()
    } else {
        imageops::resize(&image.into_rgb8(), to_width, to_height, FilterType::Triangle).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn shape(height: usize, width: usize, channels: usize) -> Shape {
        Shape { height, width, channels }
    }

    fn read_as(path: &Path, shape: Shape) -> Result<Vec<u8>, BadFile> {
        let mut out = vec![0; shape.len()];
        write(path, shape, &mut out).map(|_| out)
    }

    /// An image of 6x4 pixels in a file of this name.
    fn saved(name: &str) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        RgbImage::from_fn(6, 4, |x, y| [x as u8 * 40, y as u8 * 60, 7].into()).save(&path).unwrap();
        (dir, path)
    }

    /// A photograph of a camera on its side: 40x24 as stored, and to be turned by 90 degrees.
    fn turned_jpeg() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/turned.jpg")
    }

    #[test]
    fn lossless_files_give_their_pixels_whatever_they_are_called() {
        for name in ["a.png", "a.bmp", "a.webp"] {
            let (_dir, path) = saved(name);
            let other = path.with_extension("jpeg");
            fs::rename(&path, &other).unwrap();
            assert_eq!(header(&other).unwrap(), Header { height: 4, width: 6, grey: false });
            let pixels = read_as(&other, shape(4, 6, 3)).unwrap();
            assert_eq!(
                (&pixels[..3], &pixels[(3 * 6 + 5) * 3..]),
                (&[0, 0, 7][..], &[200, 180, 7][..]),
                "{name}"
            );
        }
    }

    #[test]
    fn a_photograph_is_turned_as_its_exif_data_say() {
        let path = turned_jpeg();
        assert_eq!(header(&path).unwrap(), Header { height: 40, width: 24, grey: false });
        let pixels = read_as(&path, shape(40, 24, 3)).unwrap();
        // What libjpeg decodes, turned.
        for (y, x, expected) in
            [(0, 0, [8, 224, 115]), (0, 23, [4, 0, 0]), (39, 0, [234, 230, 229]), (39, 23, [229, 3, 113])]
        {
            let found = &pixels[(y * 24 + x) * 3..][..3];
            let near = found.iter().zip(expected).all(|(&found, expected)| found.abs_diff(expected) <= 3);
            assert!(near, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn decoded_and_resized_pixels_have_the_same_bits_everywhere() {
        let sum =
            |shape| Sha256Sum::of(&read_as(&turned_jpeg(), shape).unwrap()).to_string()[..16].to_owned();
        let sums = [shape(40, 24, 3), shape(16, 16, 3), shape(50, 60, 1)].map(sum);
        assert_eq!(sums, ["891dd4d16f9b52e3", "707cb6bd0cc9e3c6", "b24b507a705f346d"]);
    }

    #[test]
    fn an_image_is_cropped_about_its_middle_to_the_proportions_that_are_wanted() {
        let (_dir, path) = saved("a.png");
        let pixels = read_as(&path, shape(4, 4, 3)).unwrap();
        // Columns 1 to 4 of 0 to 5.
        assert_eq!((pixels[0], pixels[9]), (40, 160));
        let half = read_as(&path, shape(2, 2, 1)).unwrap();
        assert!(half[0] < half[1] && half[0] < half[2], "{half:?}");
    }

    #[test]
    fn what_is_no_image_or_a_broken_one_is_refused_with_its_name() {
        let (dir, png) = saved("a.png");
        let bytes = fs::read(&png).unwrap();
        let jpeg = fs::read(turned_jpeg()).unwrap();
        let cut = |bytes: &[u8], length: usize| bytes[..length].to_vec();
        for (name, content, refusal) in [
            ("empty.png", Vec::new(), "found an empty file"),
            ("text.png", b"no image at all".to_vec(), "found bytes that begin like no such image"),
            ("anim.gif", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), "found an image in the format image/gif"),
            ("cut.png", cut(&bytes, bytes.len() - 20), "found"),
            ("head.png", cut(&bytes, 20), "found"),
            ("cut.jpg", cut(&jpeg, jpeg.len() - 60), "found"),
            ("head.jpg", cut(&jpeg, 30), "found"),
            (
                "bomb.png",
                bomb(&bytes),
                "found an image of 65000x65000 pixels, expected 1 to 65535 pixels a side",
            ),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            let error = read_as(&path, shape(4, 4, 3)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(refusal), "{name}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let folder = dir.path().join("folder.png");
        fs::create_dir(&folder).unwrap();
        assert!(read_as(&folder, shape(4, 4, 3)).unwrap_err().to_string().contains("no plain file"));
    }

    /// The PNG file with a header of a very large image.
    fn bomb(png: &[u8]) -> Vec<u8> {
        let mut bomb = png.to_vec();
        bomb[16..20].copy_from_slice(&65_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&65_000_u32.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bomb
    }
}
