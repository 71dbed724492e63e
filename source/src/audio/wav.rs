//! WAV files, mixed down to one channel.
//!
//! Invariant: a header's word decides how much is read at most, and never how much memory is taken.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};

use crate::bad_file::BadFile;

/// A recording of one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Samples a second.
    pub rate: u32,
    /// Its samples, of which -1 to 1 is full scale.
    pub samples: Vec<f64>,
}

/// Samples a second that recordings have: from those of a telephone to those of a studio.
const RATES: RangeInclusive<u32> = 4_000..=192_000;
/// Channels of a recording at most.
const CHANNELS: u16 = 32;
/// Seconds of a recording at most.
const SECONDS: u32 = 600;
/// The longest file: all other chunks of a WAV file together are small.
const FILE_BYTES: u64 = 1 << 30;

/// Reads the WAV file at `path`: integers of 8, 16, 24 or 32 bits, or floats of 32. Where there are several channels, it is
/// their mean.
pub fn read(path: &Path) -> Result<Recording, BadFile> {
    samples(path, open(path)?)
}

/// Samples a second of the WAV file at `path`, and samples of each channel, as its header says.
pub fn length(path: &Path) -> Result<(u32, u32), BadFile> {
    let reader = open(path)?;
    Ok((reader.spec().sample_rate, reader.duration()))
}

/// The file at `path`, whose header was read and checked.
fn open(path: &Path) -> Result<WavReader<impl Read + use<>>, BadFile> {
    let unreadable = |cause: io::Error| BadFile::new(path, cause, "a file that can be read");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(BadFile::new(path, "no plain file", "a WAV file"));
    }
    let length = metadata.len();
    if length > FILE_BYTES {
        let found = format_args!("a file of {length} bytes").to_string();
        return Err(BadFile::new(path, found, format_args!("at most {FILE_BYTES}")));
    }
    let file = BufReader::new(File::open(path).map_err(unreadable)?.take(FILE_BYTES));
    let reader = WavReader::new(file).map_err(|error| no_header(path, length, &error))?;
    check(path, reader.spec(), reader.duration())?;
    Ok(reader)
}

fn no_header(path: &Path, length: u64, error: &hound::Error) -> BadFile {
    const EXPECTED: &str = "the header of a WAV file";
    match error {
        _ if length == 0 => BadFile::new(path, "an empty file", "a WAV file"),
        hound::Error::IoError(_) => {
            let found = format_args!("a file that ends after {length} bytes, within its header").to_string();
            BadFile::new(path, found, EXPECTED)
        }
        hound::Error::FormatError(what) => BadFile::new(path, what, EXPECTED),
        hound::Error::Unsupported => {
            let expected = "integers of 8, 16, 24 or 32 bits, or floats of 32";
            BadFile::new(path, "samples in a compressed or unknown format", expected)
        }
        other => BadFile::new(path, other, EXPECTED),
    }
}

/// Whether a recording of this form, of `duration` samples in each channel, is one that can be used.
fn check(path: &Path, spec: WavSpec, duration: u32) -> Result<(), BadFile> {
    let WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format } = spec;
    let refused =
        |found: String, expected: String| -> Result<(), _> { Err(BadFile::new(path, found, expected)) };
    if !RATES.contains(&rate) {
        let expected = format!("{} to {}", RATES.start(), RATES.end());
        return refused(format!("{rate} samples a second"), expected);
    }
    if channels > CHANNELS {
        return refused(format!("{channels} channels"), format!("1 to {CHANNELS}"));
    }
    let (kind, possible): (_, &[u16]) = match sample_format {
        SampleFormat::Int => ("integers", &[8, 16, 24, 32]),
        SampleFormat::Float => ("floats", &[32]),
    };
    if !possible.contains(&bits) {
        return refused(format!("{kind} of {bits} bits"), format!("{possible:?}"));
    }
    if duration == 0 {
        return refused("no samples".to_owned(), "a recording".to_owned());
    }
    if duration / rate >= SECONDS {
        return refused(format!("{} seconds", duration / rate), format!("less than {SECONDS}"));
    }
    Ok(())
}

fn samples<R: Read>(path: &Path, mut reader: WavReader<R>) -> Result<Recording, BadFile> {
    let WavSpec { channels, sample_rate: rate, bits_per_sample, sample_format } = reader.spec();
    let announced = reader.len();
    let values: Result<Vec<f64>, (usize, hound::Error)> = match sample_format {
        SampleFormat::Int => {
            let full_scale = (1_u64 << (bits_per_sample - 1)) as f64;
            gathered(reader.samples::<i32>().map(|sample| Ok(f64::from(sample?) / full_scale)))
        }
        SampleFormat::Float => gathered(reader.samples::<f32>().map(|sample| sample.map(f64::from))),
    };
    let values = values.map_err(|(read, error)| match error {
        hound::Error::IoError(_) => {
            let found = format_args!("a file that ends after {read} samples").to_string();
            BadFile::new(path, found, format_args!("{announced}, as its header says"))
        }
        other => BadFile::new(path, other, "samples as its header says"),
    })?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let found = format_args!("{} as sample {at}", values[at]).to_string();
        return Err(BadFile::new(path, found, "finite numbers"));
    }
    let channels = usize::from(channels);
    let mean = |frame: &[f64]| frame.iter().sum::<f64>() / channels as f64;
    Ok(Recording { rate, samples: values.chunks_exact(channels).map(mean).collect() })
}

/// All samples, or how many came before the error.
fn gathered(
    samples: impl Iterator<Item = Result<f64, hound::Error>>,
) -> Result<Vec<f64>, (usize, hound::Error)> {
    let mut values = Vec::new();
    for sample in samples {
        match sample {
            Ok(sample) => values.push(sample),
            Err(error) => return Err((values.len(), error)),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{Sample, WavWriter};
    use tempfile::TempDir;

    use super::*;

    const MONO: WavSpec =
        WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };

    fn written<S: Sample + Copy>(spec: WavSpec, samples: &[S]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn file(bytes: &[u8]) -> (TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hostile.wav");
        fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn read_back(bytes: &[u8]) -> Recording {
        read(&file(bytes).1).unwrap()
    }

    #[test]
    fn samples_of_every_width_are_the_same_sound() {
        let sound = [0.0, 0.5, -1.0, 0.25];
        for bits_per_sample in [8, 16, 24, 32] {
            let full_scale = (1_i64 << (bits_per_sample - 1)) as f64;
            let samples = sound.map(|value| (value * full_scale) as i32);
            let found = read_back(&written(WavSpec { bits_per_sample, ..MONO }, &samples));
            assert_eq!(found, Recording { rate: 8_000, samples: sound.to_vec() }, "{bits_per_sample}");
        }
        let spec = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..MONO };
        assert_eq!(read_back(&written(spec, &sound.map(|value| value as f32))).samples, sound);
    }

    #[test]
    fn channels_are_mixed_to_their_mean() {
        let stereo = WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 24, ..MONO };
        let found = read_back(&written(stereo, &[1 << 22, 0, -(1 << 22), 1 << 21]));
        assert_eq!(found, Recording { rate: 48_000, samples: vec![0.25, -0.125] });
    }

    /// The bytes of a good file of 16 bits with some of its header's numbers changed, each at its offset.
    fn changed(changes: &[(usize, u32, usize)]) -> Vec<u8> {
        let mut bytes = written(MONO, &[1_i16; 400]);
        assert_eq!((bytes.len(), &bytes[36..40]), (844, &b"data"[..]));
        for &(offset, number, width) in changes {
            bytes[offset..offset + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        bytes
    }

    #[track_caller]
    fn refused(bytes: &[u8], says: &str) {
        let (_dir, path) = file(bytes);
        let error = read(&path).unwrap_err().to_string();
        let text = error.strip_prefix(&format!("{}: found ", path.display())).expect(&error);
        assert!(text.contains(says) && text.contains(", expected "), "{error} says {says}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn what_is_no_wav_file_is_refused() {
        refused(b"", "an empty file, expected a WAV file");
        refused(b"RIF", "a file that ends after 3 bytes, within its header");
        refused(&changed(&[])[..30], "a file that ends after 30 bytes, within its header");
        refused(&changed(&[])[..36], "a file that ends after 36 bytes, within its header");
        refused(b"ID3\x03\0\0\0\0 an MP3 under another name", "no RIFF tag found");
        refused(b"fLaC\0\0\0\x22 and so on, and on, and on", "no RIFF tag found");
        refused(b"<html><body>404: not found</body></html>", "no RIFF tag found");
        refused(b"RIFF\x24\0\0\0AVI LIST\0\0\0\0 a film", "no WAVE tag found");
        refused(&changed(&[(36, u32::from_le_bytes(*b"atad"), 4)]), "within its header");
        refused(&changed(&[(12, u32::from_le_bytes(*b"junk"), 4)]), "missing fmt chunk");
        refused(&changed(&[(16, 4, 4)]), "invalid fmt chunk size");
        refused(&changed(&[(16, u32::MAX, 4)]), "unexpected fmt chunk size");
    }

    #[test]
    fn formats_that_nobody_hears_are_refused() {
        refused(&changed(&[(20, 2, 2)]), "samples in a compressed or unknown format");
        refused(&changed(&[(20, 7, 2)]), "samples in a compressed or unknown format");
        refused(&changed(&[(22, 0, 2)]), "file contains zero channels");
        refused(&changed(&[(22, 65_535, 2)]), "sample bits exceeds size of sample");
        refused(&changed(&[(34, 0, 2)]), "bits per sample is 0");
        refused(&changed(&[(34, 12, 2)]), "bits per sample is not a multiple of 8");
        refused(&changed(&[(20, 3, 2)]), "bits per sample is not 32");
        refused(&changed(&[(32, 0, 2), (28, 0, 4)]), "sample bits exceeds size of sample");
        for rate in [0, 1, 3_999, 192_001, u32::MAX / 2] {
            let found = format!("{rate} samples a second, expected 4000 to 192000");
            refused(&changed(&[(24, rate, 4), (28, rate.wrapping_mul(2), 4)]), &found);
        }
        let many = WavSpec { channels: 33, ..MONO };
        refused(&written(many, &[0_i16; 66]), "33 channels, expected 1 to 32");
    }

    #[test]
    fn lengths_that_lie_are_refused_and_take_no_memory() {
        refused(&changed(&[(40, 0, 4)]), "no samples, expected a recording");
        refused(&changed(&[(40, 799, 4)]), "data chunk length is not a multiple of sample size");
        refused(&changed(&[(40, 802, 4)]), "a file that ends after 400 samples, expected 401");
        refused(&changed(&[])[..500], "a file that ends after 228 samples, expected 400");
        refused(&changed(&[(40, u32::MAX - 1, 4)]), "268435 seconds, expected less than 600");
        let spec = WavSpec { sample_rate: 192_000, channels: 32, ..MONO };
        let mut long = written(spec, &[0_i16; 64]);
        let at = long.windows(4).position(|bytes| bytes == b"data").unwrap() + 4;
        long[at..at + 4].copy_from_slice(&0xffff_ffc0_u32.to_le_bytes());
        refused(&long, "a file that ends after 64 samples");
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let spec = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..MONO };
        refused(&written(spec, &[0.5_f32, f32::NAN]), "NaN as sample 1, expected finite numbers");
        refused(&written(spec, &[f32::NEG_INFINITY]), "-inf as sample 0, expected finite numbers");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| read(path).unwrap_err().to_string();
        assert!(refusal(dir.path()).ends_with("found no plain file, expected a WAV file"));
        assert!(refusal("/dev/zero".as_ref()).ends_with("found no plain file, expected a WAV file"));
        let missing = refusal(&dir.path().join("missing.wav"));
        assert!(missing.contains("missing.wav: found No such file"), "{missing}");
        let sparse = dir.path().join("huge.wav");
        File::create(&sparse).unwrap().set_len(2 << 30).unwrap();
        assert!(refusal(&sparse).ends_with("found a file of 2147483648 bytes, expected at most 1073741824"));
    }

    #[test]
    fn other_chunks_are_passed_over() {
        let mut bytes = changed(&[]);
        let note = [&b"LIST\x04\0\0\0note"[..], &bytes[36..]].concat();
        bytes.truncate(36);
        bytes.extend(note);
        assert_eq!(read_back(&bytes).samples.len(), 400);
    }
}
