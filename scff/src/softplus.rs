//! Sums of log(1 + exp(u)) and their slopes, several at a time, with the same bits on every processor.

/// So many are computed side by side.
pub(crate) const LANES: usize = 8;
/// What adds nothing: for lanes that are left over.
pub(crate) const NOTHING: f64 = f64::MIN;

/// A sum of log(1 + exp(u)), without overflow: of max(u, 0), and of log(1 + exp(-|u|)), of which one logarithm serves
/// hundreds. Only sums, products and `libm` are used, so that every processor finds the same bits.
pub(crate) struct Softplus {
    linear: [f64; LANES],
    logarithms: f64,
    /// What the next logarithms are of: products of numbers from 1 to 2.
    products: [f64; LANES],
    /// How many factors each of these has.
    factors: usize,
}

impl Default for Softplus {
    fn default() -> Self {
        Self { linear: [0.0; LANES], logarithms: 0.0, products: [1.0; LANES], factors: 0 }
    }
}

impl Softplus {
    /// Adds those of `u`, and returns their derivatives.
    #[inline(always)]
    pub(crate) fn add(&mut self, u: [f64; LANES]) -> [f64; LANES] {
        /// So many factors of up to 2 are within the range of numbers.
        const FACTORS: usize = 1000;
        let mut slopes = [0.0; LANES];
        for lane in 0..LANES {
            let e = exp(-u[lane].abs());
            self.linear[lane] += u[lane].max(0.0);
            self.products[lane] *= 1.0 + e;
            let share = 1.0 / (1.0 + e);
            slopes[lane] = if u[lane] >= 0.0 { share } else { e * share };
        }
        self.factors += 1;
        if self.factors == FACTORS {
            self.logarithms += self.products.iter().map(|product| libm::log(*product)).sum::<f64>();
            (self.products, self.factors) = ([1.0; LANES], 0);
        }
        slopes
    }

    pub(crate) fn sum(&self) -> f64 {
        let logarithms = self.products.iter().map(|product| libm::log(*product)).sum::<f64>();
        self.linear.iter().sum::<f64>() + (self.logarithms + logarithms)
    }
}

/// exp(x) of x from minus infinity to 0: 2^n exp(r) of x = n log 2 + r, and of exp(r) the Taylor series up to where the next
/// term is below the last bit. Without branches and calls, so that compilers make vectors of it.
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// Added to a small number, it leaves the nearest whole one in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// log 2, of which the first has so few bits that its multiples are exact, and the rest.
    const LOG_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
    /// 1/13!, and so on to 1/0!.
    const TERMS: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // Below, it is nothing beside 1. What is no number stays so.
    let x = if x < -708.0 { -708.0 } else { x };
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LOG_2[0]) - n * LOG_2[1];
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * r + term;
    }
    sum * f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_softplus_is_that_of_its_parts() {
        let numbers = |index: i32| f64::from(index % 89 - 44) * 0.9;
        let mut sum = Softplus::default();
        for start in (0..30_000).step_by(LANES) {
            let u = std::array::from_fn(|lane| numbers(start + lane as i32));
            for (u, found) in u.into_iter().zip(sum.add(u)) {
                let slope = 1.0 / (1.0 + (-u).exp());
                assert!((found - slope).abs() < 1e-15, "{u}");
            }
        }
        sum.add([NOTHING; LANES]);
        let expected: f64 = (0..30_000).map(|index| numbers(index).exp().ln_1p()).sum();
        assert!((sum.sum() / expected - 1.0).abs() < 1e-13, "{} {expected}", sum.sum());
    }

    #[test]
    fn an_exponential_is_off_by_no_more_than_two_last_bits() {
        for index in 0..70_000 {
            let x = -f64::from(index) * 0.01;
            assert!((exp(x) / libm::exp(x) - 1.0).abs() <= 2.0 * f64::EPSILON, "{x}");
        }
        assert!(exp(f64::NEG_INFINITY) < 1e-300 && exp(f64::NAN).is_nan());
    }
}
