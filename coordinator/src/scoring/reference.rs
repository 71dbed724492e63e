//! What samples are compared with.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ndarray::{Array2, ArrayView2, Ix1, Ix2, concatenate, s};
use scff::anomaly::{Principal, Typical, nearest};
use scff::frozen::{FrozenLayer, goodness};

use super::method::Method;
use crate::run_dir::Arrays;

/// Layers of a model.
type Layers = [Arc<FrozenLayer>];

/// Samples whose goodness is computed at a time.
pub const TOGETHER: usize = 96;
/// Nearest samples that are looked at.
const NEAREST: usize = 5;
/// Training samples that a sample makes pairs with.
const PARTNERS: usize = 8;

/// Statistics of a sample of the training data.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// Of features.
    Mahalanobis(Principal),
    /// Features themselves, (samples, features).
    Neighbours(Array2<f32>),
    /// Of goodness in each layer, of (x, x).
    Goodness(Typical),
    /// Of goodness in each layer, of (x, y), with the ys, (partners, elements).
    Partners(Typical, Array2<f32>),
}

impl Reference {
    /// That of features of training samples, (samples, features).
    pub fn of_features(method: Method, features: Array2<f32>) -> anyhow::Result<Self> {
        Ok(match method {
            Method::Mahalanobis => {
                ensure!(features.nrows() > 1, "found one training sample, expected two at least");
                Self::Mahalanobis(
                    Principal::of(features.view()).context("the features' principal components")?,
                )
            }
            Method::Neighbours => Self::Neighbours(features),
            Method::Goodness | Method::Partners => panic!("{method} is not of features"),
        })
    }

    /// That of the goodness of training samples, (samples, elements).
    pub fn of_goodness(method: Method, layers: &Layers, samples: &Array2<f32>) -> anyhow::Result<Self> {
        let partners = match method {
            Method::Goodness => None,
            Method::Partners => Some(samples.slice(s![..PARTNERS.min(samples.nrows()), ..]).to_owned()),
            Method::Mahalanobis | Method::Neighbours => panic!("{method} is of features"),
        };
        // Those that are partners are not measured, for no sample will be its own partner.
        let rest = partners.as_ref().map_or(0, Array2::nrows);
        ensure!(rest < samples.nrows(), "found {rest} training samples, expected more than {PARTNERS}");
        let measured = samples.slice(s![rest.., ..]);
        let parts = measured.axis_chunks_iter(ndarray::Axis(0), TOGETHER);
        let parts: Vec<Array2<f64>> =
            parts.map(|part| goodness_of(layers, part, partners.as_ref())).collect();
        let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let typical = Typical::of(concatenate(ndarray::Axis(0), &parts)?.view());
        Ok(match partners {
            None => Self::Goodness(typical),
            Some(partners) => Self::Partners(typical, partners),
        })
    }

    /// Whether it scores features.
    pub fn is_of_features(&self) -> bool {
        matches!(self, Self::Mahalanobis(_) | Self::Neighbours(_))
    }

    /// The scores of samples by their features, (samples, features).
    pub fn scores_of_features(&self, features: ArrayView2<'_, f32>) -> Vec<f32> {
        match self {
            Self::Mahalanobis(principal) => principal.distances(features),
            Self::Neighbours(others) => nearest(features, others.view(), NEAREST),
            Self::Goodness(_) | Self::Partners(..) => panic!("goodness is not of features"),
        }
    }

    /// The scores of samples (samples, elements) by their goodness.
    pub fn scores_of_goodness(&self, layers: &Layers, samples: ArrayView2<'_, f32>) -> Vec<f32> {
        match self {
            Self::Goodness(typical) => typical.distances(goodness_of(layers, samples, None).view()),
            Self::Partners(typical, partners) => {
                typical.distances(goodness_of(layers, samples, Some(partners)).view())
            }
            Self::Mahalanobis(_) | Self::Neighbours(_) => panic!("features are not of goodness"),
        }
    }

    /// The names and ranks of what is kept of it.
    pub fn arrays_of(method: Method) -> &'static [(&'static str, usize)] {
        match method {
            Method::Mahalanobis => &[("mean", 1), ("whitening", 2)],
            Method::Neighbours => &[("features", 2)],
            Method::Goodness => &[("means", 1), ("deviations", 1)],
            Method::Partners => &[("means", 1), ("deviations", 1), ("partners", 2)],
        }
    }

    /// What is kept of it.
    pub fn arrays(&self) -> Arrays {
        let typical = |Typical { means, deviations }: &Typical| {
            vec![("means", means.clone().into_dyn()), ("deviations", deviations.clone().into_dyn())]
        };
        match self {
            Self::Mahalanobis(Principal { mean, whitening }) => {
                vec![("mean", mean.clone().into_dyn()), ("whitening", whitening.clone().into_dyn())]
            }
            Self::Neighbours(features) => vec![("features", features.clone().into_dyn())],
            Self::Goodness(of_one) => typical(of_one),
            Self::Partners(of_one, partners) => {
                [typical(of_one), vec![("partners", partners.clone().into_dyn())]].concat()
            }
        }
    }

    /// Takes up what was kept of one.
    pub fn from_arrays(method: Method, arrays: Arrays) -> anyhow::Result<Self> {
        let mut arrays = arrays.into_iter().map(|(_, array)| array);
        let mut next = || arrays.next().context("fewer arrays than a reference has");
        let reference = match method {
            Method::Mahalanobis => {
                let mean = next()?.into_dimensionality::<Ix1>()?;
                Self::Mahalanobis(Principal { mean, whitening: next()?.into_dimensionality::<Ix2>()? })
            }
            Method::Neighbours => Self::Neighbours(next()?.into_dimensionality::<Ix2>()?),
            Method::Goodness | Method::Partners => {
                let means = next()?.into_dimensionality::<Ix1>()?;
                let typical = Typical { means, deviations: next()?.into_dimensionality::<Ix1>()? };
                match method {
                    Method::Partners => Self::Partners(typical, next()?.into_dimensionality::<Ix2>()?),
                    _ => Self::Goodness(typical),
                }
            }
        };
        Ok(reference)
    }
}

/// The goodness of samples (samples, elements) in each layer, (samples, layers): of each alone, or its mean over partners.
fn goodness_of(layers: &Layers, samples: ArrayView2<'_, f32>, partners: Option<&Array2<f32>>) -> Array2<f64> {
    let Some(partners) = partners else { return goodness(layers, samples, None) };
    let mut sum = Array2::zeros((samples.nrows(), layers.len()));
    for partner in partners.outer_iter() {
        let partner = partner.broadcast(samples.dim()).expect("a row of the same length");
        sum += &goodness(layers, samples, Some(partner));
    }
    sum / partners.nrows() as f64
}
