//! What can be said of frozen layers without labels: how many directions their features have that matter, and how far each layer
//! keeps together what was close below it.

use std::sync::Arc;

use proto::rows::Precision;
use scff::analysis::{Neighbours, agreement, effective_rank_of_covariance};
use scff::batch::{Epoch, Step};
use scff::readout::Features;
use scff::seed::{NO_LAYER, Purpose, Seed, permutation};
use source::Examples;

use crate::clock::Stopwatch;
use crate::cluster::Worker;
use crate::events::{Event, Events};
use crate::features::{FeaturesError, Taps, feature_stream, input_features, layer_features};
use crate::split::Splits;
use crate::summary::{LayerSummary, LayerWithoutLabels, WithoutLabels};

/// Samples that are looked at, at most: enough for the first digit of every measure, and seconds of work.
const LOOKED_AT: usize = 1000;
/// Nearest neighbours that are compared.
const NEIGHBOURS: usize = 10;

/// What is looked at.
pub struct Look<'a> {
    /// Who computes features.
    pub workers: &'a [Worker],
    /// The run's name on them.
    pub run: &'a str,
    /// The frozen layers, from the input up: what each one's features are, and how it was trained.
    pub layers: Vec<(Taps, &'a LayerSummary)>,
    /// Of which samples.
    pub splits: &'a Splits,
    /// Precision of features.
    pub precision: Precision,
    /// Which samples follow from it.
    pub seed: Seed,
    /// Who is told what happens.
    pub events: &'a Events,
}

impl Look<'_> {
    /// Computes the features of all layers, one after the other, and their measures.
    pub async fn measure(self) -> Result<WithoutLabels, FeaturesError> {
        let began = Stopwatch::start();
        let (examples, of) = self.looked_at();
        let neighbours = NEIGHBOURS.min(examples.len() - 1);
        let input = input_features(&examples, self.precision)?;
        let (_, mut below) = computed(input, neighbours).await;
        let mut layers = Vec::new();
        for (taps, summary) in &self.layers {
            let Taps::Layers(taps) = taps else { unreachable!("layers are looked at") };
            let Self { workers, run, precision, events, .. } = self;
            let features =
                layer_features(workers, &feature_stream(run, taps, &examples, false, precision, events))
                    .await?;
            let width = features.width();
            let (effective_rank, here) = computed(features, neighbours).await;
            layers.push(LayerWithoutLabels {
                name: summary.name.clone(),
                features: width,
                goodness_pos: summary.last.goodness_pos,
                goodness_neg: summary.last.goodness_neg,
                effective_rank,
                neighbour_agreement: agreement(&below, &here),
            });
            below = here;
        }
        let (samples, seconds) = (examples.len(), began.seconds());
        let measures = WithoutLabels { samples, of: of.to_owned(), neighbours, layers, seconds };
        self.events.tell(&Event::WithoutLabels(measures.clone()))?;
        Ok(measures)
    }

    /// Some of the samples that no layer has learned from, or of those that all have where there are no others; with what they
    /// are.
    fn looked_at(&self) -> (Arc<Examples>, &'static str) {
        let Splits { layers, measure, held_out, .. } = self.splits;
        let (all, of) = match (measure.len() > NEIGHBOURS, held_out) {
            (false, _) => (layers, "training"),
            (true, false) => (measure, "test"),
            (true, true) => (measure, "held-out"),
        };
        if all.len() <= LOOKED_AT {
            return (all.clone(), of);
        }
        let mut random = self.seed.stream(Purpose::LookedAt, NO_LAYER, Epoch(0), Step(0));
        let order = permutation(&mut random, all.len() as u32);
        (Arc::new(all.subset(&order[..LOOKED_AT])), of)
    }
}

/// The effective rank of features, unless their eigenvalues do not come out; and every sample's nearest neighbours.
async fn computed(features: Features, neighbours: usize) -> (Option<f64>, Neighbours) {
    let compute = move || {
        let features = features.into_single();
        let rank = effective_rank_of_covariance(&features).ok().filter(|rank| rank.is_finite());
        (rank, Neighbours::of(&features, neighbours))
    };
    tokio::task::spawn_blocking(compute).await.expect("measures do not panic")
}
