//! How far a download is: a bar on a terminal, plain lines elsewhere, both on stderr.

use std::io::{IsTerminal, stderr};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one file.
pub enum Progress {
    /// Nothing is shown.
    Silent,
    /// A bar.
    Bar(ProgressBar),
    /// A line at the start and one for each quarter.
    Lines {
        /// The file.
        name: String,
        /// Its size.
        total: u64,
        /// The quarters that were told.
        quarters: u64,
    },
}

impl Progress {
    /// The progress of the file `name` of `total` bytes.
    pub fn new(shown: bool, name: &str, total: u64) -> Self {
        if !shown {
            return Self::Silent;
        }
        if !stderr().is_terminal() {
            return Self::Lines { name: name.to_owned(), total, quarters: 0 };
        }
        let style =
            ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                .expect("the template is well formed");
        Self::Bar(ProgressBar::new(total).with_style(style).with_message(name.to_owned()))
    }

    /// Tells that `position` bytes are there.
    pub fn set(&mut self, position: u64) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.set_position(position),
            Self::Lines { name, total, quarters } => {
                let reached = 4 * position / (*total).max(1);
                if reached > *quarters {
                    *quarters = reached;
                    eprintln!(
                        "{name}: {} of {}",
                        ByteSize(position).display().si(),
                        ByteSize(*total).display().si()
                    );
                }
            }
        }
    }

    /// Tells something in words.
    pub fn say(&self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Self::Lines { .. } => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}
