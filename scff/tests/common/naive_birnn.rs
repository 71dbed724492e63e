//! The slow twin of recurrent layers: plain loops in f64, pair by pair and frame by frame, over the sum of the halves.

use scff::goodness::LossParameters;
use scff::layer::{SequencePadding, Tensors};

use crate::naive::{Rows, standardize, widen};

/// A sequence: its frames.
pub type Frames = Rows;

/// One direction's weights and biases, or their gradients.
#[derive(Clone, Debug)]
pub struct Way {
    pub weight_ih: Rows,
    pub weight_hh: Rows,
    pub bias_ih: Vec<f64>,
    pub bias_hh: Vec<f64>,
}

/// What a walk leaves behind, in the order in which frames are walked.
#[derive(Clone, Debug)]
pub struct Walk {
    /// h of each frame.
    pub hidden: Rows,
    /// The standardised state before each frame.
    pub before: Rows,
    /// The standardised state after each frame.
    pub after: Rows,
}

/// Both directions, forward first.
#[derive(Clone, Debug)]
pub struct Layer(pub [Way; 2]);

/// The inputs of a batch's pairs.
pub struct Pairs {
    pub positive: Vec<Frames>,
    pub negative: Vec<Frames>,
}

impl Pairs {
    /// Of samples; `first` and `second` are the views of the two halves.
    pub fn make(first: &[Frames], second: &[Frames], shifts: &[usize], padding: SequencePadding) -> Self {
        let longest = first.iter().chain(second).map(Vec::len).max().unwrap();
        let join = |i: usize, j: usize| {
            let length = match padding {
                SequencePadding::Masked => first[i].len().min(second[j].len()),
                SequencePadding::Counts => longest,
            };
            sum(&padded(&first[i], length), &padded(&second[j], length))
        };
        let batch = first.len();
        let shifted = |&shift: &usize| (0..batch).map(move |i| (i, (i + shift) % batch));
        Self {
            positive: (0..batch).map(|i| join(i, i)).collect(),
            negative: shifts.iter().flat_map(shifted).map(|(i, j)| join(i, j)).collect(),
        }
    }

    /// Taken from the layer below, one sequence for each.
    pub fn take(pairs: &[Frames], positives: usize, padding: SequencePadding) -> Self {
        let longest = pairs.iter().map(Vec::len).max().unwrap();
        let whole = |pair: &Frames| match padding {
            SequencePadding::Masked => pair.clone(),
            SequencePadding::Counts => padded(pair, longest),
        };
        Self {
            positive: pairs[..positives].iter().map(whole).collect(),
            negative: pairs[positives..].iter().map(whole).collect(),
        }
    }

    /// All of them, positives first.
    pub fn all(&self) -> impl Iterator<Item = &Frames> {
        self.positive.iter().chain(&self.negative)
    }
}

fn padded(frames: &Frames, length: usize) -> Frames {
    let silence = vec![0.0; frames[0].len()];
    (0..length).map(|frame| frames.get(frame).unwrap_or(&silence).clone()).collect()
}

fn sum(one: &Frames, other: &Frames) -> Frames {
    let add = |(one, other): (&Vec<f64>, &Vec<f64>)| one.iter().zip(other).map(|(a, b)| a + b).collect();
    one.iter().zip(other).map(add).collect()
}

impl Way {
    fn step(&self, frame: &[f64], before: &[f64]) -> Vec<f64> {
        let dot = |weights: &[f64], x: &[f64]| weights.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let unit = |unit: usize| {
            let z = dot(&self.weight_ih[unit], frame)
                + self.bias_ih[unit]
                + dot(&self.weight_hh[unit], before)
                + self.bias_hh[unit];
            z.max(0.0)
        };
        (0..self.bias_ih.len()).map(unit).collect()
    }

    /// Walks frames in the order in which they come.
    pub fn walk<'a>(&self, frames: impl Iterator<Item = &'a Vec<f64>>) -> Walk {
        let mut walk = Walk { hidden: vec![], before: vec![], after: vec![] };
        let mut state = vec![0.0; self.bias_ih.len()];
        for frame in frames {
            walk.before.push(state.clone());
            let hidden = self.step(frame, &state);
            state = standardize(&hidden);
            walk.hidden.push(hidden);
            walk.after.push(state.clone());
        }
        walk
    }

    fn zeros(&self) -> Self {
        let zeros = |rows: &Rows| rows.iter().map(|row| vec![0.0; row.len()]).collect();
        let units = self.bias_ih.len();
        Self {
            weight_ih: zeros(&self.weight_ih),
            weight_hh: zeros(&self.weight_hh),
            bias_ih: vec![0.0; units],
            bias_hh: vec![0.0; units],
        }
    }
}

impl Layer {
    pub fn new(tensors: &Tensors) -> Self {
        let units = tensors.vector("bias_ih").len() / 2;
        let part = |way: usize| {
            let rows = |name: &str| {
                tensors.matrix(name).outer_iter().skip(way * units).take(units).map(widen).collect::<Rows>()
            };
            let numbers = |name: &str| widen(tensors.vector(name))[way * units..][..units].to_vec();
            Way {
                weight_ih: rows("weight_ih"),
                weight_hh: rows("weight_hh"),
                bias_ih: numbers("bias_ih"),
                bias_hh: numbers("bias_hh"),
            }
        };
        Self([part(0), part(1)])
    }

    /// The walks of both directions; the second goes from the last frame to the first.
    pub fn walks(&self, frames: &Frames) -> [Walk; 2] {
        [self.0[0].walk(frames.iter()), self.0[1].walk(frames.iter().rev())]
    }

    /// The standardised states of both directions in each frame.
    pub fn states(&self, frames: &Frames) -> Rows {
        let [forward, backward] = self.walks(frames);
        forward
            .after
            .iter()
            .zip(backward.after.iter().rev())
            .map(|(f, b)| [f.clone(), b.clone()].concat())
            .collect()
    }

    /// Goodness of each frame, where the states before each are those of `walks`, whatever the weights are.
    fn goodness_after(&self, frames: &Frames, walks: &[Walk; 2]) -> Vec<f64> {
        let squares = |h: &[f64]| h.iter().map(|h| h * h).sum::<f64>();
        let last = frames.len() - 1;
        let at = |frame: usize| {
            let forward = self.0[0].step(&frames[frame], &walks[0].before[frame]);
            let backward = self.0[1].step(&frames[frame], &walks[1].before[last - frame]);
            (squares(&forward) + squares(&backward)) / (2 * forward.len()) as f64
        };
        (0..frames.len()).map(at).collect()
    }

    /// The loss of a batch, where the states before each frame are those that `constant` weights lead to.
    pub fn loss(&self, constant: &Self, pairs: &Pairs, loss: &LossParameters) -> f64 {
        let (theta_pos, theta_neg) = (f64::from(loss.theta_pos), f64::from(loss.theta_neg));
        let mut total = 0.0;
        for frames in &pairs.positive {
            let g = self.goodness_after(frames, &constant.walks(frames));
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            let softplus = g.iter().map(|g| (1.0 + (theta_pos - g).exp()).ln()).sum::<f64>() / g.len() as f64;
            total += (softplus + f64::from(loss.lambda) * norm) / pairs.positive.len() as f64;
        }
        for frames in &pairs.negative {
            let g = self.goodness_after(frames, &constant.walks(frames));
            let softplus = g.iter().map(|g| (1.0 + (g - theta_neg).exp()).ln()).sum::<f64>() / g.len() as f64;
            total += softplus / pairs.negative.len() as f64;
        }
        total
    }

    /// dL/d of all tensors, at each frame by itself.
    pub fn gradient(&self, pairs: &Pairs, loss: &LossParameters) -> Self {
        let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
        let mut gradient = Self(self.0.each_ref().map(Way::zeros));
        for frames in &pairs.positive {
            let walks = self.walks(frames);
            let g = self.goodness_after(frames, &walks);
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            let slopes = g.iter().map(|g| {
                let pull = if norm > 0.0 { f64::from(loss.lambda) * g / norm } else { 0.0 };
                let push = logistic(f64::from(loss.theta_pos) - g) / frames.len() as f64;
                (pull - push) / pairs.positive.len() as f64
            });
            gradient.add_pair(frames, &walks, &slopes.collect::<Vec<_>>());
        }
        for frames in &pairs.negative {
            let walks = self.walks(frames);
            let g = self.goodness_after(frames, &walks);
            let count = (frames.len() * pairs.negative.len()) as f64;
            let slopes = g.iter().map(|g| logistic(g - f64::from(loss.theta_neg)) / count);
            gradient.add_pair(frames, &walks, &slopes.collect::<Vec<_>>());
        }
        gradient
    }

    /// `slopes`: dL/dg of each frame.
    fn add_pair(&mut self, frames: &Frames, walks: &[Walk; 2], slopes: &[f64]) {
        let last = frames.len() - 1;
        for (way, (gradient, walk)) in self.0.iter_mut().zip(walks).enumerate() {
            let units = gradient.bias_ih.len();
            for step in 0..=last {
                let frame = if way == 0 { step } else { last - step };
                for unit in 0..units {
                    let back = slopes[frame] * 2.0 * walk.hidden[step][unit] / (2 * units) as f64;
                    gradient.bias_ih[unit] += back;
                    gradient.bias_hh[unit] += back;
                    for (sum, x) in gradient.weight_ih[unit].iter_mut().zip(&frames[frame]) {
                        *sum += back * x;
                    }
                    for (sum, n) in gradient.weight_hh[unit].iter_mut().zip(&walk.before[step]) {
                        *sum += back * n;
                    }
                }
            }
        }
    }

    /// All numbers of a tensor, the forward direction's first.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let of = |way: &Way| match name {
            "weight_ih" => way.weight_ih.concat(),
            "weight_hh" => way.weight_hh.concat(),
            "bias_ih" => way.bias_ih.clone(),
            "bias_hh" => way.bias_hh.clone(),
            other => panic!("no tensor `{other}`"),
        };
        self.0.iter().flat_map(of).collect()
    }
}
