//! States of those who share a layer, as they arrive: put together once all of a step have come.
//!
//! Those of a column come to the same state, and only the one with the first samples sends it, for each would take as long as
//! all batches of many steps on the way up the chain. The others say what the SHA-256 of theirs is: so that they have not come to
//! differ is still known, of every checkpoint.

use std::collections::{BTreeMap, HashMap};

use proto::address::Address;
use proto::state::{decode_state, sha256};
use proto::wire;
use scff::layer::{LayerMap, LayerState};

use crate::worker_id::WorkerId;

/// Room for what stands in a state besides numbers.
const STATE_HEAD_BYTES: usize = 64 << 10;

/// Where a share of a layer begins: its first channel, and its first sample.
pub type Corner = (u64, u64);

/// One of those who share a layer.
#[derive(Clone, Debug)]
pub struct Sharer {
    /// Who it is.
    pub id: WorkerId,
    /// Where it listens.
    pub address: Address,
    /// How many parts of the layer it has.
    pub parts: usize,
}

/// A share's state.
enum Share {
    /// Bytes of it are missing.
    Arriving(Vec<u8>),
    /// It is here, with the checksum of its bytes where others say what theirs is.
    Whole(Box<LayerState>, Option<String>),
    /// Another has the same, of this checksum.
    Same(String),
}

/// The states that are arriving.
pub struct States {
    map: LayerMap,
    sharers: HashMap<Corner, Sharer>,
    /// By step.
    arriving: BTreeMap<u64, BTreeMap<Corner, Share>>,
}

impl States {
    /// Those of a layer; `sharers`: who shares it, nobody where it is not shared.
    pub fn new(map: LayerMap, sharers: HashMap<Corner, Sharer>) -> Self {
        Self { map, sharers, arriving: BTreeMap::new() }
    }

    /// Who has the share that a part is of.
    pub fn sharer(&self, part: &wire::StatePart) -> Option<&Sharer> {
        self.sharers.get(&corner(part))
    }

    /// Takes in a part of a state that was asked for; returns the layer's state once it is the last part of the step's, and whether
    /// a share's state is complete with it.
    pub fn take(&mut self, part: &wire::StatePart) -> Result<(bool, Option<LayerState>), String> {
        let corner = self.known(part)?;
        let rows = self.sharers.keys().any(|(_, first_sample)| *first_sample > 0);
        let shares = self.arriving.entry(part.step).or_default();
        let share = shares.entry(corner).or_insert_with(|| Share::Arriving(Vec::new()));
        let Share::Arriving(bytes) = share else {
            return Err(format!("the state of the shard at {} twice", said(corner)));
        };
        *share = if corner.1 > 0 {
            Share::Same(part.sha256.clone())
        } else {
            bytes.extend_from_slice(&part.part);
            if (bytes.len() as u64) < part.length {
                return Ok((false, None));
            }
            let (state, _) = decode_state(bytes, &self.map.tensors()).map_err(|error| error.to_string())?;
            Share::Whole(Box::new(state), rows.then(|| sha256(bytes)))
        };
        let complete = |share: &Share| !matches!(share, Share::Arriving(_));
        if shares.len() < self.sharers.len().max(1) || !shares.values().all(complete) {
            return Ok((true, None));
        }
        let shares = self.arriving.remove(&part.step).expect("just there");
        self.assemble(part.step, shares).map(|state| (true, Some(state)))
    }

    /// Whose share a part is of, where it is no longer than that can be.
    fn known(&self, part: &wire::StatePart) -> Result<Corner, String> {
        let corner = corner(part);
        let known =
            if self.sharers.is_empty() { corner == (0, 0) } else { self.sharers.contains_key(&corner) };
        if !known {
            return Err(format!("the state of a shard at {}, which nobody has", said(corner)));
        }
        let come = match self.arriving.get(&part.step).and_then(|shares| shares.get(&corner)) {
            Some(Share::Arriving(bytes)) => bytes.len(),
            Some(Share::Whole(..) | Share::Same(_)) | None => 0,
        };
        // Weights and two moments.
        let longest = (3 * size_of::<f32>() * self.map.parameters() + STATE_HEAD_BYTES) as u64;
        let (bytes, length) = ((come + part.part.len()) as u64, part.length);
        if corner.1 > 0 && !part.part.is_empty() {
            return Err(format!(
                "{bytes} bytes of a state that the shard at {} has too",
                said((corner.0, 0))
            ));
        }
        if (corner.1 == 0 && part.part.is_empty()) || bytes > length || length > longest {
            return Err(format!("{bytes} bytes of a state of {length}, which has at most {longest}"));
        }
        if part.sha256.len() > 2 * SHA256_BYTES {
            return Err(format!("a checksum of {} digits", part.sha256.len()));
        }
        Ok(corner)
    }

    fn assemble(&self, step: u64, shares: BTreeMap<Corner, Share>) -> Result<LayerState, String> {
        let mut states = Vec::new();
        let mut checksums = HashMap::new();
        let mut others = Vec::new();
        for ((start, _), share) in shares {
            match share {
                Share::Whole(state, checksum) => {
                    states.push(*state);
                    checksums.insert(start, checksum);
                }
                Share::Same(checksum) => others.push((start, checksum)),
                Share::Arriving(_) => unreachable!("all are complete"),
            }
        }
        for (start, checksum) in others {
            if checksums.get(&start).and_then(Option::as_ref) != Some(&checksum) {
                return Err("workers that share samples have come to differ".to_owned());
            }
        }
        let fits = |state: &LayerState| state.step.0 == step && state.check_shard(&self.map).is_ok();
        if !states.iter().all(fits) {
            return Err("states of another step or layer".to_owned());
        }
        let state = match &states[..] {
            [_] => states.remove(0),
            _ => LayerState::assemble(&states),
        };
        state.check(&self.map).map_err(|error| error.to_string())?;
        if !state.is_finite() {
            return Err("a state with numbers that are not finite".to_owned());
        }
        Ok(state)
    }
}

const SHA256_BYTES: usize = 32;

fn corner(part: &wire::StatePart) -> Corner {
    (part.start, part.first_sample)
}

fn said((start, first_sample): Corner) -> String {
    match first_sample {
        0 => start.to_string(),
        _ => format!("{start} and sample {first_sample}"),
    }
}
