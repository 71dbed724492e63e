//! The Free Spoken Digit Dataset: recordings at 8 kHz, called `{digit}_{speaker}_{take}.wav`.

use std::path::Path;
use std::sync::LazyLock;

use super::checksum::Sha256Sum;
use super::file_entry::FileEntry;
use super::utterance::Utterance;

/// Its digits.
const CLASSES: u32 = 10;

/// Sums, sizes and names; where they come from stands in the first lines.
const SUMS: &str = include_str!("fsdd.sums");

/// Its files, in the order of their names.
pub static FILES: LazyLock<Vec<FileEntry>> = LazyLock::new(|| {
    let lines = SUMS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| entry(line).expect("a sum, a size and a name")).collect()
});

fn entry(line: &'static str) -> Option<FileEntry> {
    let mut words = line.split(' ');
    let sum = Sha256Sum::from_hex(words.next()?);
    Some(FileEntry { bytes: words.next()?.parse().ok()?, name: words.next()?, sha256: Some(sum) })
}

/// The recording at `path`, if it is called like one.
pub fn utterance(path: &Path) -> Option<Utterance> {
    let name = path.file_name()?.to_str()?.strip_suffix(".wav")?;
    let (digit, name) = name.split_once('_')?;
    let (speaker, take) = name.rsplit_once('_')?;
    let label = digit.parse().ok().filter(|&digit| digit < CLASSES)?;
    Some(Utterance {
        path: path.to_owned(),
        label,
        speaker: Some(speaker.to_owned()),
        take: Some(take.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_say_what_who_and_which() {
        let found = utterance("a/7_theo_12.wav".as_ref()).unwrap();
        assert_eq!((found.label, found.speaker.as_deref(), found.take), (7, Some("theo"), Some(12)));
        for name in ["10_theo_1.wav", "x_theo_1.wav", "7_theo.wav", "7_theo_x.wav", "7_theo_1.mp3", "wav"] {
            assert_eq!(utterance(name.as_ref()), None, "{name}");
        }
    }

    #[test]
    fn six_speakers_say_every_digit_fifty_times() {
        let mut counts = BTreeMap::new();
        for entry in &*FILES {
            let Utterance { label, speaker, take, .. } = utterance(entry.name.as_ref()).unwrap();
            assert!(take.unwrap() < 50);
            *counts.entry((label, speaker.unwrap())).or_insert(0) += 1;
        }
        assert_eq!((counts.len(), FILES.len()), (60, 3_000));
        assert!(counts.values().all(|&count| count == 50));
        assert!(FILES.is_sorted_by_key(|entry| entry.name));
    }
}
