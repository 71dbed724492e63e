//! Taking a frozen layer in.

use proto::wire::host_layer_request::Request;
use proto::{WireError, required, state, wire};
use scff::batch::LayerIndex;
use scff::frozen::FrozenLayer;
use scff::layer::LayerSpec;
use tonic::Streaming;

use crate::assembly::Assembly;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::run::RunName;

/// Digits of a SHA-256.
const DIGITS: usize = 64;

/// Takes in the layer whose parts `requests` carries.
pub async fn host(node: &Node, mut requests: Streaming<wire::HostLayerRequest>) -> Result<(), Refusal> {
    let first = node.soon(&mut requests, "`begin` first").await?.and_then(|first| first.request);
    let Some(Request::Begin(begin)) = first else {
        return Err(WireError::new("request", "no `begin`", "`begin` first").into());
    };
    let run = RunName::parse(begin.run)?;
    let index = LayerIndex(begin.layer);
    let spec = LayerSpec::try_from(required("spec", begin.spec)?)?;
    let digest = begin.sha256;
    if digest.len() != DIGITS {
        let found = format_args!("{} characters", digest.len()).to_string();
        return Err(WireError::new("sha256", found, format_args!("{DIGITS} digits")).into());
    }
    let mut tensors = Assembly::new("length", begin.length, node.budget.memory_bytes)?;
    while let Some(request) = next(&mut requests).await? {
        let Request::Part(part) = request else {
            return Err(WireError::new("request", "another `begin`", "`part`").into());
        };
        node.meters.received_bytes("layer", part.len());
        tensors.push(&part)?;
    }
    let bytes = tensors.finish()?;
    let layer = node.compute.start(move || decode(spec, &digest, &bytes)).wait().await??;
    tracing::info!(%run, layer = index.0, name = %layer.spec().name, "hosting a frozen layer");
    node.with_hosted(|hosted| hosted.insert(run, index, layer, node.budget.memory_bytes))
}

async fn next(requests: &mut Streaming<wire::HostLayerRequest>) -> Result<Option<Request>, Refusal> {
    match requests.message().await? {
        Some(message) => Ok(Some(required("request", message.request)?)),
        None => Ok(None),
    }
}

fn decode(spec: LayerSpec, digest: &str, bytes: &[u8]) -> Result<FrozenLayer, Refusal> {
    let found = state::sha256(bytes);
    if !found.eq_ignore_ascii_case(digest) {
        return Err(WireError::new("sha256", found, digest).into());
    }
    let (mut parts, _) =
        state::decode(bytes, &[("", &spec.map.tensors())]).map_err(Refusal::undecodable("part"))?;
    let tensors = parts.pop().expect("as many parts as names");
    FrozenLayer::new(spec, tensors).map_err(Refusal::misshapen("part"))
}
