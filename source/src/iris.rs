//! Fisher's iris flowers: 150 rows of 4 measures in centimetres, 50 rows for each of 3 species.

use super::data_set::DataSet;
use super::examples::Examples;
use super::input::{InputKind, InputSpec, NumberInput};
use super::record::{ReadFile, Record};
use super::shape::Shape;

/// Where it comes from and its licence stand in its first lines.
const TABLE: &str = include_str!("iris.csv");

/// What its measures are called.
const COLUMNS: [&str; 4] = ["sepal_length", "sepal_width", "petal_length", "petal_width"];

/// What its species are called.
const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// Every fifth row of a species is a test row.
const TEST_EVERY: usize = 5;

/// The data set, embedded in the program.
///
/// Split without chance: of each species' rows, in the file's order, rows 4, 9, 14 ... (counted from 0) are
/// the test set, 10 of 50. So 120 rows train and 30 test, with the species in equal parts. The measures are
/// raw: layers standardise each sample themselves.
pub fn iris() -> DataSet {
    let shape = Shape { height: 1, width: 1, channels: 4 };
    let (mut train, mut test) = (Rows::default(), Rows::default());
    let mut seen = [0; 3];
    for (measures, species) in table() {
        let seen = &mut seen[species as usize];
        let part = if *seen % TEST_EVERY == TEST_EVERY - 1 { &mut test } else { &mut train };
        *seen += 1;
        part.values.extend(measures);
        part.labels.push(species);
    }
    assert_eq!(seen, [50; 3], "the embedded iris table has 50 rows for each species");
    DataSet {
        input: InputSpec {
            kind: InputKind::Numbers(NumberInput {
                shape,
                moments: None,
                columns: COLUMNS.map(str::to_owned).to_vec(),
                table: None,
            }),
            classes: SPECIES.map(str::to_owned).to_vec(),
        },
        standardize: false,
        train: train.examples(shape),
        test: test.examples(shape),
        validation: None,
        unlabeled: None,
        record: Record {
            files: vec![ReadFile::of("iris.csv".to_owned(), TABLE.as_bytes())],
            ..Record::default()
        },
    }
}

/// The rows of the table: the measures, then the species, 0 to 2.
fn table() -> impl Iterator<Item = ([f32; 4], u32)> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| {
        let mut cells = line.split(',');
        let mut cell = || cells.next().expect("a row of the embedded iris table has five cells");
        let measures = std::array::from_fn(|_| cell().parse().expect("a measure is a number"));
        (measures, cell().parse().expect("a species is a number"))
    })
}

#[derive(Default)]
struct Rows {
    values: Vec<f32>,
    labels: Vec<u32>,
}

impl Rows {
    fn examples(self, shape: Shape) -> Examples {
        Examples::from_rows(shape, self.values, self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sha256Sum;

    fn row(examples: &Examples, index: u32) -> [f32; 4] {
        let mut row = [0.0; 4];
        examples.write(index, &mut row).unwrap();
        row
    }

    #[test]
    fn iris_is_split_in_equal_parts_of_each_species() {
        let iris = iris();
        let counts = |examples: &Examples| {
            let mut counts = [0; 3];
            examples.labels().iter().for_each(|&species| counts[species as usize] += 1);
            counts
        };
        assert_eq!((counts(&iris.train), counts(&iris.test)), ([40; 3], [10; 3]));
        assert_eq!(iris.train.shape().to_string(), "1x1x4");
    }

    #[test]
    fn iris_has_the_same_bits_as_ever() {
        let iris = iris();
        let mut bytes = Vec::new();
        for examples in [&iris.train, &iris.test] {
            for (index, &species) in examples.labels().iter().enumerate() {
                bytes.extend(row(examples, index as u32).iter().flat_map(|measure| measure.to_le_bytes()));
                bytes.push(species as u8);
            }
        }
        let sum = Sha256Sum::of(&bytes).to_string();
        assert_eq!(sum, "f3879f6daa50723a6779ad49c8ca8ef66bed1653fb245e44c21c904c18789a30");
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the rows are copied, not computed")]
    fn iris_rows_are_raw_and_in_the_files_order() {
        let iris = iris();
        assert_eq!(row(&iris.train, 0), [5.1, 3.5, 1.4, 0.2]);
        assert_eq!(row(&iris.train, 3), [4.6, 3.1, 1.5, 0.2]);
        assert_eq!(row(&iris.test, 0), [5.0, 3.6, 1.4, 0.2]);
        assert_eq!(row(&iris.train, 4), [5.4, 3.9, 1.7, 0.4]);
    }
}
