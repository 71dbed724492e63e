//! Labels that files give as texts, counted.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// Classes of a data set, at most.
pub const CLASSES: usize = 65_536;

/// The label of each text, and what the classes are called: in the order of their numbers where all are numbers, otherwise of their
/// letters. An error says what was found instead of at most [`CLASSES`] classes.
pub fn counted(texts: &[impl AsRef<str>]) -> Result<(Vec<u32>, Vec<String>), String> {
    let unique: BTreeSet<&str> = texts.iter().map(AsRef::as_ref).collect();
    if unique.len() > CLASSES {
        return Err(format!("{} different labels", unique.len()));
    }
    let mut classes: Vec<&str> = unique.into_iter().collect();
    let numbers: Option<Vec<f64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut ordered: Vec<(f64, &str)> = numbers.into_iter().zip(classes).collect();
        ordered.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal));
        classes = ordered.into_iter().map(|(_, class)| class).collect();
    }
    let labels: HashMap<&str, u32> = classes.iter().copied().zip(0..).collect();
    let labels = texts.iter().map(|text| labels[text.as_ref()]).collect();
    Ok((labels, classes.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stand_in_the_order_of_numbers_or_letters() {
        let (labels, classes) = counted(&["10", "9", "-1", "9"]).unwrap();
        assert_eq!((labels, classes.join(" ").as_str()), (vec![2, 1, 0, 1], "-1 9 10"));
        let (labels, classes) = counted(&["10", "9", "cat"]).unwrap();
        assert_eq!((labels, classes.join(" ").as_str()), (vec![0, 1, 2], "10 9 cat"));
    }

    #[test]
    fn too_many_classes_are_refused() {
        let many: Vec<String> = (0..=CLASSES).map(|number| number.to_string()).collect();
        assert_eq!(counted(&many), Err("65537 different labels".to_owned()));
    }
}
