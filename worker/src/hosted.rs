//! The frozen layers that this worker hosts: those of one run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use scff::batch::LayerIndex;
use scff::frozen::FrozenLayer;

use crate::refusal::Refusal;
use crate::run::RunName;

/// Frozen layers of at most one run.
#[derive(Default)]
pub struct Hosted {
    run: Option<RunName>,
    layers: BTreeMap<u32, Arc<FrozenLayer>>,
}

impl Hosted {
    /// Takes a layer in, in place of any of the same index, and forgets the layers of any other run.
    ///
    /// `memory` is what all layers together may take.
    pub fn insert(
        &mut self,
        run: RunName,
        index: LayerIndex,
        layer: FrozenLayer,
        memory: u64,
    ) -> Result<(), Refusal> {
        let same_run = self.run.as_ref() == Some(&run);
        let others = self.layers.iter().filter(|(other, _)| same_run && **other != index.0);
        let needed = others.map(|(_, layer)| bytes(layer)).sum::<u64>() + bytes(&layer);
        if needed > memory {
            return Err(Refusal::Memory { what: "hosting the run's layers", needed, available: memory });
        }
        if !same_run {
            self.layers.clear();
            self.run = Some(run);
        }
        self.layers.insert(index.0, Arc::new(layer));
        Ok(())
    }

    /// The layers of `range`, which fit onto each other.
    pub fn layers(&self, run: &RunName, range: Range<u32>) -> Result<Vec<Arc<FrozenLayer>>, Refusal> {
        let mut layers: Vec<Arc<FrozenLayer>> = Vec::new();
        for index in range {
            let layer = self.layers.get(&index).filter(|_| self.run.as_ref() == Some(run));
            let Some(layer) = layer else {
                return Err(Refusal::NotHosted { run: run.clone(), layer: index });
            };
            let inputs = layer.spec().reads();
            let outputs = layers.last().map(|below| below.spec().passes_on());
            if let Some(outputs) = outputs.filter(|outputs| *outputs != inputs) {
                return Err(Refusal::Unchained { run: run.clone(), layer: index, inputs, outputs });
            }
            layers.push(Arc::clone(layer));
        }
        Ok(layers)
    }
}

fn bytes(layer: &FrozenLayer) -> u64 {
    4 * layer.spec().map.parameters() as u64
}

#[cfg(test)]
mod tests {
    use scff::layer::{Dense, LayerMap, LayerSpec, PairSource, Tensors, Transmit};

    use super::*;

    fn layer(inputs: usize, outputs: usize) -> FrozenLayer {
        let map = LayerMap::Dense(Dense { inputs, outputs });
        let spec = LayerSpec {
            name: "dense".into(),
            map,
            pairs: PairSource::Makes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 1,
        };
        FrozenLayer::new(spec, Tensors::zeros(&map.tensors())).unwrap()
    }

    fn run(name: &str) -> RunName {
        RunName::parse(name.to_owned()).unwrap()
    }

    #[test]
    fn a_layer_of_another_run_replaces_all() {
        let mut hosted = Hosted::default();
        hosted.insert(run("a"), LayerIndex(0), layer(3, 2), 1000).unwrap();
        hosted.insert(run("a"), LayerIndex(1), layer(2, 2), 1000).unwrap();
        assert_eq!(hosted.layers(&run("a"), 0..2).unwrap().len(), 2);
        hosted.insert(run("b"), LayerIndex(1), layer(2, 2), 1000).unwrap();
        assert!(matches!(hosted.layers(&run("a"), 0..2), Err(Refusal::NotHosted { layer: 0, .. })));
        assert!(matches!(hosted.layers(&run("b"), 0..2), Err(Refusal::NotHosted { layer: 0, .. })));
        assert_eq!(hosted.layers(&run("b"), 1..2).unwrap().len(), 1);
    }

    #[test]
    fn layers_that_do_not_fit_are_refused_when_used() {
        let mut hosted = Hosted::default();
        hosted.insert(run("a"), LayerIndex(1), layer(4, 2), 1000).unwrap();
        hosted.insert(run("a"), LayerIndex(0), layer(3, 2), 1000).unwrap();
        let refusal = hosted.layers(&run("a"), 0..2).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "run `a`: layer 1 takes 4 elements, but the layer below passes on 2 elements"
        );
        hosted.insert(run("a"), LayerIndex(1), layer(2, 2), 1000).unwrap();
        assert!(hosted.layers(&run("a"), 0..2).is_ok());
    }

    #[test]
    fn layers_that_do_not_fit_into_memory_are_refused() {
        let mut hosted = Hosted::default();
        hosted.insert(run("a"), LayerIndex(0), layer(3, 2), 40).unwrap();
        let refusal = hosted.insert(run("a"), LayerIndex(1), layer(2, 2), 40).unwrap_err();
        assert!(matches!(refusal, Refusal::Memory { needed: 56, available: 40, .. }));
        hosted.insert(run("a"), LayerIndex(0), layer(3, 2), 40).unwrap();
        hosted.insert(run("b"), LayerIndex(1), layer(2, 2), 40).unwrap();
    }
}
