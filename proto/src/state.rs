//! Layers and their training state as safetensors: the same bytes on the wire and in files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use scff::batch::Step;
use scff::layer::{LayerState, Tensor, TensorSpec, Tensors};
use sha2::{Digest, Sha256};

use crate::limits::PAYLOAD_BYTES;

/// Bytes that are not the layer they should be.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No safetensors file, or one that is cut short.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is of another kind than it should be.
    #[error("tensor `{name}`: found {found}, expected {expected}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The header lacks something or says it wrongly.
    #[error("header field `{name}`: found {found}, expected {expected}")]
    Header {
        /// The field's name.
        name: String,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
}

/// Text that is kept beside the tensors of a file.
pub type Header = BTreeMap<String, String>;

/// The header field that holds the checksum of all tensors.
const CHECKSUM: &str = "sha256";
/// The header field that holds the checksum of all others.
const HEADER_CHECKSUM: &str = "header_sha256";
const STEP: &str = "step";

/// Named tensors of a layer, written as `NAME.weight` and so on.
pub type Named<'a> = (&'a str, &'a Tensors);
/// What tensors a name stands for.
pub type Expected<'a> = (&'a str, &'a [TensorSpec]);

/// A safetensors file of `parts` whose header carries `header` and checksums of the tensors and of itself. Equal parts and
/// headers give equal bytes.
pub fn encode(parts: &[Named<'_>], mut header: Header) -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Cow<'_, [u8]>)> = parts
        .iter()
        .flat_map(|(name, tensors)| {
            tensors.iter().map(|Tensor { name: tensor, values, .. }| {
                (joined(name, tensor), values.shape().to_vec(), little_endian(values))
            })
        })
        .collect();
    header.insert(CHECKSUM.to_owned(), weights_sha256(parts.iter().map(|(_, tensors)| *tensors)));
    header.insert(HEADER_CHECKSUM.to_owned(), header_sha256(&header));
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes.as_ref())
            .expect("bytes are as long as the shape says");
        (name.as_str(), view)
    });
    with_header(&safetensors::serialize(views, None).expect("tensors of known shapes serialise"), &header)
}

/// Puts `header` into the bytes of a file that has none: its fields in order, where the library would take any.
fn with_header(file: &[u8], header: &Header) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk().expect("a file begins with a length");
    let (tensors, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let fields = serde_json::to_string(header).expect("text");
    let opening = format!("{{\"__metadata__\":{fields},");
    let mut bytes = vec![0; length.len()];
    bytes.extend_from_slice(opening.as_bytes());
    bytes.extend_from_slice(&tensors[1..]);
    // Data begin at a multiple of eight bytes.
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    let length = (bytes.len() - length.len()) as u64;
    bytes[..size_of_val(&length)].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// SHA-256 over the fields of a header but for that of this checksum.
fn header_sha256(header: &Header) -> String {
    let mut hash = Sha256::new();
    for (name, value) in header.iter().filter(|(name, _)| *name != HEADER_CHECKSUM) {
        hash.update(format!("{name:?} {value:?}\n"));
    }
    const_hex::encode(hash.finalize())
}

/// Reads the tensors of `parts`, of whatever shapes, and the header, and checks the checksum.
pub fn decode(bytes: &[u8], parts: &[Expected<'_>]) -> Result<(Vec<Tensors>, Header), StateError> {
    let header = header(bytes)?;
    let file = SafeTensors::deserialize(bytes)?;
    let parts: Vec<Tensors> = parts
        .iter()
        .map(|(name, specs)| specs.iter().map(|spec| tensor(&file, name, spec)).collect())
        .collect::<Result<_, _>>()?;
    let found = field(&header, CHECKSUM)?;
    let expected = weights_sha256(&parts);
    if found != expected {
        return Err(StateError::Header { name: CHECKSUM.to_owned(), found: found.to_owned(), expected });
    }
    Ok((parts, header))
}

const STATE_PARTS: [&str; 3] = ["", "first_moment", "second_moment"];

/// A layer's training state as bytes; `header` may say more about it.
pub fn encode_state(state: &LayerState, header: Header) -> Vec<u8> {
    encode_states(&[("", state)], header)
}

/// Reads what [`encode_state`] wrote of a layer, or of a shard, with the tensors of `specs`.
pub fn decode_state(bytes: &[u8], specs: &[TensorSpec]) -> Result<(LayerState, Header), StateError> {
    let (mut states, header) = decode_states(bytes, &[("", specs)])?;
    Ok((states.remove(0), header))
}

/// Named states of layers that have taken as many steps, as bytes.
pub fn encode_states(states: &[(&str, &LayerState)], mut header: Header) -> Vec<u8> {
    let steps = states.first().expect("a state").1.step;
    assert!(states.iter().all(|(_, state)| state.step == steps), "states of one step");
    header.insert(STEP.to_owned(), steps.0.to_string());
    let named: Vec<(String, &Tensors)> = states
        .iter()
        .flat_map(|(name, state)| {
            let parts = [&state.parameters, &state.first_moments, &state.second_moments];
            STATE_PARTS.map(|part| joined(name, part)).into_iter().zip(parts)
        })
        .collect();
    let parts: Vec<Named<'_>> = named.iter().map(|(name, tensors)| (name.as_str(), *tensors)).collect();
    encode(&parts, header)
}

/// Reads the states of `layers` that [`encode_states`] wrote.
pub fn decode_states(bytes: &[u8], layers: &[Expected<'_>]) -> Result<(Vec<LayerState>, Header), StateError> {
    let named: Vec<(String, &[TensorSpec])> = layers
        .iter()
        .flat_map(|(name, specs)| STATE_PARTS.map(|part| (joined(name, part), *specs)))
        .collect();
    let parts: Vec<Expected<'_>> = named.iter().map(|(name, specs)| (name.as_str(), *specs)).collect();
    let (parts, header) = decode(bytes, &parts)?;
    let step = step(&header)?;
    let mut parts = parts.into_iter();
    let mut states = Vec::new();
    while let (Some(parameters), Some(first_moments), Some(second_moments)) =
        (parts.next(), parts.next(), parts.next())
    {
        states.push(LayerState { step, parameters, first_moments, second_moments });
    }
    Ok((states, header))
}

/// The steps of states, by their header.
pub fn step(header: &Header) -> Result<Step, StateError> {
    number(header, STEP).map(Step)
}

/// What the header of a file says, before its tensors are read. Files of earlier builds have no checksum of it.
pub fn header(bytes: &[u8]) -> Result<Header, StateError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let header: Header = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    match header.get(HEADER_CHECKSUM) {
        Some(found) if *found != header_sha256(&header) => Err(StateError::Header {
            name: HEADER_CHECKSUM.to_owned(),
            found: found.clone(),
            expected: header_sha256(&header),
        }),
        _ => Ok(header),
    }
}

/// A field of a header.
pub fn field<'a>(header: &'a Header, name: &str) -> Result<&'a str, StateError> {
    header.get(name).map(String::as_str).ok_or_else(|| StateError::Header {
        name: name.to_owned(),
        found: "nothing".to_owned(),
        expected: "a value".to_owned(),
    })
}

/// A number in a header.
pub fn number<N: std::str::FromStr>(header: &Header, name: &str) -> Result<N, StateError> {
    let found = field(header, name)?;
    found.parse().map_err(|_| StateError::Header {
        name: name.to_owned(),
        found: found.to_owned(),
        expected: "a number".to_owned(),
    })
}

/// `bytes` cut into messages.
pub fn parts(bytes: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(PAYLOAD_BYTES);
    starts.map(move |start| bytes.slice(start..(start + PAYLOAD_BYTES).min(bytes.len())))
}

/// SHA-256 over trained tensors in layer order, and in the order of each layer's, as little-endian f32.
pub fn weights_sha256<'a>(layers: impl IntoIterator<Item = &'a Tensors>) -> String {
    let mut hash = Sha256::new();
    for tensors in layers {
        for tensor in tensors.iter() {
            hash.update(little_endian(&tensor.values));
        }
    }
    const_hex::encode(hash.finalize())
}

/// SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

fn joined(name: &str, tensor: &str) -> String {
    match (name, tensor) {
        ("", name) | (name, "") => name.to_owned(),
        (name, tensor) => format!("{name}.{tensor}"),
    }
}

/// The bytes of an array as they stand in memory, where that is little-endian: states are large, copies of them too.
fn little_endian(values: &ArrayD<f32>) -> Cow<'_, [u8]> {
    match values.as_slice() {
        Some(values) if cfg!(target_endian = "little") => Cow::Borrowed(bytemuck::cast_slice(values)),
        _ => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

fn tensor(file: &SafeTensors<'_>, part: &str, spec: &TensorSpec) -> Result<Tensor, StateError> {
    let name = joined(part, spec.name);
    let view = file.tensor(&name)?;
    let refused = |found: String| StateError::Tensor {
        name: name.clone(),
        found,
        expected: format!("F32 of {} dimension(s)", spec.shape.len()),
    };
    if view.dtype() != Dtype::F32 || view.shape().len() != spec.shape.len() {
        return Err(refused(format!("{:?} of shape {:?}", view.dtype(), view.shape())));
    }
    let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    // An empty tensor may claim dimensions beyond all addresses.
    let values = ArrayD::from_shape_vec(view.shape(), values);
    Ok(spec.of(values.map_err(|error| refused(format!("shape {:?} ({error})", view.shape())))?))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use scff::layer::{Dense, LayerMap};

    use super::*;

    fn specs() -> Vec<TensorSpec> {
        LayerMap::Dense(Dense { inputs: 4, outputs: 3 }).tensors()
    }

    fn state() -> LayerState {
        let part = |by: f32| {
            Tensors::linear(
                Array2::from_shape_fn((3, 4), |(i, j)| by * (i * 4 + j) as f32),
                Array1::from_shape_fn(3, |i| by - i as f32),
            )
        };
        LayerState {
            step: Step(9),
            parameters: part(1.0),
            first_moments: part(0.1),
            second_moments: part(0.01),
        }
    }

    #[test]
    fn a_state_survives_the_trip_through_its_bytes() {
        let header = Header::from([("layer".to_owned(), "2".to_owned())]);
        let (back, header) = decode_state(&encode_state(&state(), header), &specs()).unwrap();
        assert_eq!(back, state());
        assert_eq!(number::<u32>(&header, "layer").unwrap(), 2);
    }

    #[test]
    fn several_states_share_a_file() {
        let other = LayerState { parameters: state().first_moments, ..state() };
        let bytes = encode_states(&[("layers.0", &state()), ("layers.2", &other)], Header::new());
        assert_eq!(number::<u64>(&header(&bytes).unwrap(), STEP).unwrap(), 9);
        let (back, _) = decode_states(&bytes, &[("layers.0", &specs()), ("layers.2", &specs())]).unwrap();
        assert_eq!(back, [state(), other]);
        assert!(decode_states(&bytes, &[("layers.1", &specs())]).is_err());
    }

    #[test]
    fn files_have_the_names_and_hashes_that_they_always_had() {
        let bytes = encode_state(&state(), Header::new());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        let expected = ["bias", "first_moment.bias", "first_moment.weight", "second_moment.bias"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["second_moment.weight", "weight"]);
        // Weights before biases.
        let numbers: Vec<u8> = (0..12).chain([1, 0, -1]).flat_map(|i| (i as f32).to_le_bytes()).collect();
        assert_eq!(weights_sha256([&state().parameters]), sha256(&numbers));
    }

    #[test]
    fn equal_states_have_equal_bytes() {
        let fields = ["layer", "summary", "another", "more"].map(|name| (name.to_owned(), name.to_owned()));
        let bytes = encode_state(&state(), Header::from(fields.clone()));
        assert!((0..9).all(|_| encode_state(&state(), Header::from(fields.clone())) == bytes));
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_it_is() {
        let header = Header::from([("layer".to_owned(), "2 \"two\"".to_owned())]);
        let bytes = encode_state(&state(), header);
        let (state, mut header) = decode_state(&bytes, &specs()).unwrap();
        header.remove(HEADER_CHECKSUM);
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            if let Ok((read, fields)) = decode_state(&flipped, &specs()) {
                // A checksum of another name is not looked for; what else the header says is whole.
                assert!(header.iter().all(|(name, value)| fields.get(name) == Some(value)), "byte {place}");
                assert_eq!(read, state, "byte {place}");
            }
        }
        let mut last = bytes;
        *last.last_mut().unwrap() ^= 1;
        assert!(decode_state(&last, &specs()).unwrap_err().to_string().starts_with("header field `sha256`"));
    }

    #[test]
    fn a_shape_beyond_all_addresses_is_refused() {
        let header = r#"{"weight":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]},
            "bias":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let error = decode(&bytes, &[("", &specs())]).unwrap_err().to_string();
        assert!(error.starts_with("tensor `weight`: found shape [0, 9223372036854775808]"), "{error}");
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = encode_state(&state(), Header::new());
        for length in 0..bytes.len() {
            assert!(decode_state(&bytes[..length], &specs()).is_err(), "cut to {length}");
        }
    }
}
