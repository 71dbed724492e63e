//! Numbers of several seeds in one.

/// `mean ± sample standard deviation` of percentages; the deviation of one value is not known.
pub fn mean_and_deviation(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{mean:.2} %");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.2} ± {:.2} %", (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0, 4.0]), "2.50 ± 1.29 %");
        assert_eq!(mean_and_deviation(&[2.0]), "2.00 %");
    }
}
