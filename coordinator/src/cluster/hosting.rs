//! Frozen layers on their way to the workers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use proto::wire;
use scff::frozen::FrozenLayer;

use super::participant::{Worker, WorkerFailure};

/// A frozen layer that workers can take in. It is encoded once, for the first who lacks it.
#[derive(Debug)]
pub struct HostableLayer {
    index: u32,
    layer: Arc<FrozenLayer>,
    /// Of its tensors: which of the layers that the run has had at this index it is.
    pub weights_sha256: String,
    encoded: OnceLock<Encoded>,
}

/// A layer's tensors as workers take them in.
#[derive(Clone, Debug)]
pub struct Encoded {
    bytes: Bytes,
    sha256: String,
}

impl HostableLayer {
    /// A layer of a run, not encoded yet.
    pub fn new(index: u32, layer: Arc<FrozenLayer>, weights_sha256: String) -> Self {
        Self { index, layer, weights_sha256, encoded: OnceLock::new() }
    }

    /// Its index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its tensors, encoded. Takes a while the first time.
    pub fn encoded(&self) -> &Encoded {
        self.encoded.get_or_init(|| {
            let bytes = proto::state::encode(&[("", self.layer.parameters())], proto::state::Header::new());
            Encoded { sha256: proto::state::sha256(&bytes), bytes: bytes.into() }
        })
    }
}

/// Has a worker take a layer in.
pub async fn host(worker: &Worker, run: &str, layer: &HostableLayer) -> Result<(), WorkerFailure> {
    use wire::host_layer_request::Request;
    let Encoded { bytes, sha256 } = layer.encoded();
    let begin = wire::HostLayerBegin {
        run: run.to_owned(),
        layer: layer.index,
        spec: Some(layer.layer.spec().into()),
        length: bytes.len() as u64,
        sha256: sha256.clone(),
    };
    let parts = proto::state::parts(bytes).map(Request::Part);
    let requests: Vec<_> = std::iter::once(Request::Begin(begin))
        .chain(parts)
        .map(|request| wire::HostLayerRequest { request: Some(request) })
        .collect();
    let taken_in = worker.client().host_layer(tokio_stream::iter(requests)).await;
    taken_in.map(drop).map_err(|status| {
        WorkerFailure::of(worker, &status).during(format_args!("while it took in layer {}", layer.index))
    })
}

#[cfg(test)]
mod tests {
    use scff::layer::{Dense, LayerMap, LayerSpec, PairSource, Tensors, Transmit};

    use super::*;

    #[test]
    fn a_layer_is_encoded_once() {
        let map = LayerMap::Dense(Dense { inputs: 3, outputs: 2 });
        let spec = LayerSpec {
            name: "dense".into(),
            map,
            pairs: PairSource::Makes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 1,
        };
        let layer = FrozenLayer::new(spec, Tensors::zeros(&map.tensors())).unwrap();
        let hostable = HostableLayer::new(0, Arc::new(layer), "digest".into());
        assert!(std::ptr::eq(hostable.encoded(), hostable.encoded()));
        assert_eq!(hostable.encoded().sha256, proto::state::sha256(&hostable.encoded().bytes));
    }
}
