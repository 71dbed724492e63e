//! What there is to learn from.

use std::fmt;
use std::path::{self, Path, PathBuf};

use source::{ImageOptions, InputKind, InputSpec, Layout, Lengths, Moments, Shape, TableOptions};

use crate::config::{self, Config, DataConfig};
use crate::data_place::DataPlace;

/// What a look at data says of them.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Where they are, and how they are taken.
    pub data: DataConfig,
    /// What samples are.
    pub input: InputSpec,
    /// Their shape and lengths.
    pub layout: Layout,
    /// How many there are.
    pub samples: usize,
    /// How many samples each class has; nothing where they have no labels.
    pub classes: Vec<usize>,
    /// The mean and the deviation of each channel, before any scaling: of images, of bytes / 255.
    pub channels: Vec<Moments>,
}

/// Keys that a configuration must have and that a look has no use for.
const NOTHING_YET: &str =
    "seed = 1\nlayers = []\n[data]\n[data.images]\n[data.table]\n[training]\nbatch = 2\n";

impl Survey {
    /// Reads all data at `path`, taken as `set` says.
    pub fn of(path: &Path, set: &[String], room: &DataPlace) -> anyhow::Result<Self> {
        let mut config = looking(path.to_owned(), set)?;
        let data = config.data.clone();
        // What is learned from, all in one part.
        config.data.test_path = None;
        config.data.test_labels = None;
        config.data.test = Some(0.0);
        let set = room.load(&config)?;
        let all = set.unlabeled.as_ref().unwrap_or(&set.train);
        let mut classes = vec![0; set.input.classes.len()];
        all.labels().iter().for_each(|&label| classes[label as usize] += 1);
        Ok(Self {
            data,
            layout: all.layout(),
            samples: all.len(),
            classes,
            channels: all.moments()?,
            input: set.input,
        })
    }

    /// Whether samples have labels.
    pub fn labelled(&self) -> bool {
        !self.classes.is_empty()
    }

    /// The shape of a sample; of recordings, of the longest.
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }
}

/// A configuration with nothing but data.
fn looking(path: PathBuf, set: &[String]) -> anyhow::Result<Config> {
    if let Some(wrong) = set.iter().find(|given| !given.trim_start().starts_with("data.")) {
        anyhow::bail!("--set {wrong}: expected a key of the data, such as data.images={{ channels = 1 }}");
    }
    let mut config = config::parse("init", NOTHING_YET, set)?;
    let data = &mut config.data;
    data.images = data.images.take().filter(|images| *images != ImageOptions::default());
    data.table = data.table.take().filter(|table| *table != TableOptions::default());
    for typed in [&mut data.labels, &mut data.test_path, &mut data.test_labels].into_iter().flatten() {
        *typed = path::absolute(&*typed)?;
    }
    data.path = Some(path);
    Ok(config)
}

/// Numbers of channels and classes that are told one by one, at most.
const TOLD: usize = 12;

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { height, width, channels } = self.shape();
        match (&self.input.kind, self.layout.lengths) {
            (_, Lengths::Frames { mean }) => writeln!(
                f,
                "{} sequences of {channels} numbers a frame, {mean:.1} frames on average, {height} at most",
                self.samples
            )?,
            (InputKind::Images(_), _) => {
                let colour = if channels == 1 { "grey" } else { "colour" };
                writeln!(f, "{} {colour} images, {height} x {width} pixels each", self.samples)?;
            }
            _ if (height, width) == (1, 1) => {
                writeln!(f, "{} rows of {channels} numbers", self.samples)?;
            }
            _ => writeln!(f, "{} samples of {height} x {width} x {channels} numbers", self.samples)?,
        }
        if self.labelled() {
            let counted = self.input.classes.iter().zip(&self.classes).take(TOLD);
            let counted: Vec<String> = counted.map(|(class, count)| format!("{class}: {count}")).collect();
            let more = if self.classes.len() > TOLD { ", ..." } else { "" };
            writeln!(f, "{} classes: {}{more}", self.classes.len(), counted.join(", "))?;
        } else {
            writeln!(f, "no labels")?;
        }
        let names =
            if let InputKind::Numbers(numbers) = &self.input.kind { &numbers.columns[..] } else { &[] };
        for (index, Moments { mean, deviation }) in self.channels.iter().enumerate().take(TOLD) {
            let name = names.get(index).map_or_else(|| format!("channel {index}"), Clone::clone);
            writeln!(f, "{name}: mean {mean:.4}, deviation {deviation:.4}")?;
        }
        if self.channels.len() > TOLD {
            writeln!(f, "and {} channels more", self.channels.len() - TOLD)?;
        }
        Ok(())
    }
}
