//! What one element of a NumPy array is, and what it becomes.

use std::fmt;

use half::f16;
use npyz::{DType, Endianness, TypeChar};

/// Characters of a text, at most.
const CHARACTERS: u64 = 4096;

/// Whole numbers up to here are told apart by single precision.
const EXACT: u64 = 1 << 24;

/// A type of elements that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    kind: Kind,
    /// Bytes of an element.
    bytes: usize,
    /// Whether the first byte is the most significant one.
    big: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    /// Four bytes for each character, filled up with zeros.
    Unicode,
    /// Bytes, filled up with zeros.
    Bytes,
}

/// An element that becomes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadElement {
    /// Which one of those that were read, counted from 0.
    pub index: usize,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: &'static str,
}

impl Element {
    /// The type that an array's header names; `None` if such elements are not read.
    pub fn of(dtype: &DType) -> Option<Self> {
        let DType::Plain(plain) = dtype else { return None };
        let (kind, sizes): (_, &[u64]) = match plain.type_char() {
            TypeChar::Bool => (Kind::Bool, &[1]),
            TypeChar::Int => (Kind::Signed, &[1, 2, 4, 8]),
            TypeChar::Uint => (Kind::Unsigned, &[1, 2, 4, 8]),
            TypeChar::Float => (Kind::Float, &[2, 4, 8]),
            TypeChar::UnicodeStr => (Kind::Unicode, &[]),
            TypeChar::ByteStr => (Kind::Bytes, &[]),
            _ => return None,
        };
        let size = plain.size_field();
        let fits = if sizes.is_empty() { (1..=CHARACTERS).contains(&size) } else { sizes.contains(&size) };
        fits.then(|| Self {
            kind,
            bytes: plain.num_bytes().unwrap_or(0),
            big: plain.endianness() == Endianness::Big,
        })
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// Whether elements are bytes, as pixels are.
    pub fn is_byte(self) -> bool {
        self.kind == Kind::Unsigned && self.bytes == 1
    }

    /// Whether elements are numbers of single precision, the least significant byte first.
    pub fn is_single(self) -> bool {
        self.kind == Kind::Float && self.bytes == 4 && !self.big
    }

    /// Whether elements are texts.
    pub fn is_text(self) -> bool {
        matches!(self.kind, Kind::Unicode | Kind::Bytes)
    }

    /// Appends what whole elements become as numbers: finite ones, and whole ones only where single precision has them exactly.
    ///
    /// # Panics
    /// If elements are texts.
    pub fn numbers(self, elements: &[u8], out: &mut Vec<f32>) -> Result<(), BadElement> {
        match (self.kind, self.bytes) {
            (Kind::Bool, _) => self.convert(elements, out, |[byte]| Ok(f32::from(u8::from(byte != 0)))),
            (Kind::Unsigned, 1) => self.convert(elements, out, |[byte]| Ok(f32::from(byte))),
            (Kind::Signed, 1) => self.convert(elements, out, |bytes| Ok(f32::from(i8::from_le_bytes(bytes)))),
            (Kind::Unsigned, 2) => {
                self.convert(elements, out, |bytes| Ok(f32::from(u16::from_le_bytes(bytes))))
            }
            (Kind::Signed, 2) => {
                self.convert(elements, out, |bytes| Ok(f32::from(i16::from_le_bytes(bytes))))
            }
            (Kind::Unsigned, 4) => {
                self.convert(elements, out, |bytes| exact(u32::from_le_bytes(bytes).into()))
            }
            (Kind::Signed, 4) => self.convert(elements, out, |bytes| exact(i32::from_le_bytes(bytes).into())),
            (Kind::Unsigned, _) => {
                self.convert(elements, out, |bytes| exact(u64::from_le_bytes(bytes).into()))
            }
            (Kind::Signed, _) => self.convert(elements, out, |bytes| exact(i64::from_le_bytes(bytes).into())),
            (Kind::Float, 2) => self.convert(elements, out, |bytes| finite(f16::from_le_bytes(bytes).into())),
            (Kind::Float, 4) => self.convert(elements, out, |bytes| finite(f32::from_le_bytes(bytes).into())),
            (Kind::Float, _) => self.convert(elements, out, |bytes| finite(f64::from_le_bytes(bytes))),
            (Kind::Unicode | Kind::Bytes, _) => panic!("texts are no numbers"),
        }
    }

    fn convert<const N: usize>(
        self,
        elements: &[u8],
        out: &mut Vec<f32>,
        number: impl Fn([u8; N]) -> Result<f32, (String, &'static str)>,
    ) -> Result<(), BadElement> {
        assert_eq!((self.bytes, elements.len() % N), (N, 0), "whole elements");
        for (index, &bytes) in elements.as_chunks::<N>().0.iter().enumerate() {
            let bytes = self.little(bytes);
            out.push(number(bytes).map_err(|(found, expected)| BadElement { index, found, expected })?);
        }
        Ok(())
    }

    fn little<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        if self.big {
            bytes.reverse();
        }
        bytes
    }

    /// What elements are called as labels: texts as they are, and whole numbers.
    pub fn texts(self, elements: &[u8]) -> Result<Vec<String>, BadElement> {
        let texts = elements.chunks_exact(self.bytes).enumerate();
        texts.map(|(index, element)| self.text(element).map_err(|bad| BadElement { index, ..bad })).collect()
    }

    fn text(self, element: &[u8]) -> Result<String, BadElement> {
        let bad = |found: String, expected| BadElement { index: 0, found, expected };
        match self.kind {
            Kind::Unicode => {
                let characters =
                    element.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(self.little(bytes)));
                let text: Option<String> = characters.map(char::from_u32).collect();
                let text = text.ok_or_else(|| bad("a text that is no Unicode".to_owned(), "Unicode"))?;
                Ok(text.trim_end_matches('\0').to_owned())
            }
            Kind::Bytes => match std::str::from_utf8(element) {
                Ok(text) => Ok(text.trim_end_matches('\0').to_owned()),
                Err(_) => Err(bad("a text that is no UTF-8".to_owned(), "UTF-8")),
            },
            Kind::Bool => Ok((element[0] != 0).to_string()),
            Kind::Float => {
                let mut number = Vec::new();
                self.numbers(element, &mut number)?;
                let whole = number[0].fract() == 0.0 && number[0].abs() <= EXACT as f32;
                let expected = "whole numbers or texts as labels";
                if whole {
                    Ok((number[0] as i64).to_string())
                } else {
                    Err(bad(number[0].to_string(), expected))
                }
            }
            Kind::Signed | Kind::Unsigned => Ok(self.whole(element).to_string()),
        }
    }

    /// A whole number of any size.
    fn whole(self, element: &[u8]) -> i128 {
        let mut bytes = element.to_vec();
        if self.big {
            bytes.reverse();
        }
        let negative = self.kind == Kind::Signed && bytes.last().is_some_and(|&last| last >= 128);
        bytes.resize(16, if negative { 255 } else { 0 });
        i128::from_le_bytes(bytes.try_into().expect("16 bytes"))
    }
}

fn exact(number: i128) -> Result<f32, (String, &'static str)> {
    if number.unsigned_abs() <= u128::from(EXACT) {
        return Ok(number as f32);
    }
    let expected = "whole numbers up to 16777216, which single precision has all of; convert the array to floats if their last digits do not matter";
    Err((number.to_string(), expected))
}

fn finite(number: f64) -> Result<f32, (String, &'static str)> {
    let single = number as f32;
    if single.is_finite() {
        return Ok(single);
    }
    Err((number.to_string(), "finite numbers in the range of single precision"))
}

/// As NumPy calls it.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Bool => return f.write_str("bool"),
            Kind::Signed => "int",
            Kind::Unsigned => "uint",
            Kind::Float => "float",
            Kind::Unicode | Kind::Bytes => return f.write_str("texts"),
        };
        write!(f, "{name}{}", 8 * self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(descr: &str) -> Option<Element> {
        Element::of(&DType::Plain(descr.parse().unwrap()))
    }

    fn numbers(descr: &str, bytes: &[u8]) -> Result<Vec<f32>, BadElement> {
        let mut out = Vec::new();
        element(descr).unwrap().numbers(bytes, &mut out)?;
        Ok(out)
    }

    #[test]
    fn numbers_of_every_type_and_order_of_bytes_become_the_same() {
        for (descr, bytes) in [
            ("|u1", vec![200, 3]),
            ("<u2", [200_u16, 3].iter().flat_map(|n| n.to_le_bytes()).collect()),
            (">u4", [200_u32, 3].iter().flat_map(|n| n.to_be_bytes()).collect()),
            ("<i8", [200_i64, 3].iter().flat_map(|n| n.to_le_bytes()).collect()),
            (">f2", [200.0, 3.0].iter().flat_map(|&n| f16::from_f32(n).to_be_bytes()).collect()),
            ("<f4", [200.0_f32, 3.0].iter().flat_map(|n| n.to_le_bytes()).collect()),
            (">f8", [200.0_f64, 3.0].iter().flat_map(|n| n.to_be_bytes()).collect()),
        ] {
            assert_eq!(numbers(descr, &bytes), Ok(vec![200.0, 3.0]), "{descr}");
        }
        assert_eq!(numbers("|i1", &[255, 0]), Ok(vec![-1.0, 0.0]));
        assert_eq!(numbers("|b1", &[1, 0]), Ok(vec![1.0, 0.0]));
    }

    #[test]
    fn what_would_become_another_number_is_refused_with_its_place() {
        let large = [1_i64, -(1 << 24) - 1].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let error = numbers("<i8", &large).unwrap_err();
        assert_eq!((error.index, error.found.as_str()), (1, "-16777217"));
        for (found, number) in [("NaN", f64::NAN), ("inf", f64::INFINITY), ("1e300", 1e300)] {
            let error = numbers("<f8", &number.to_le_bytes()).unwrap_err();
            assert!(
                error.found.starts_with(&found[..1]) && error.expected.starts_with("finite"),
                "{error:?}"
            );
        }
        for descr in ["<c8", "<M8[s]", "|O", "<f16", "<U9999"] {
            assert_eq!(element(descr), None, "{descr}");
        }
    }

    #[test]
    fn labels_are_texts_or_whole_numbers() {
        let texts = |descr: &str, bytes: &[u8]| element(descr).unwrap().texts(bytes);
        let cats: Vec<u8> = "cat\0dogs".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(texts("<U4", &cats).unwrap(), ["cat", "dogs"]);
        assert_eq!(texts("|S4", b"cat\0dogs").unwrap(), ["cat", "dogs"]);
        assert_eq!(texts(">i2", &[255, 254, 0, 7]).unwrap(), ["-2", "7"]);
        assert_eq!(texts("<f8", &3.0_f64.to_le_bytes()).unwrap(), ["3"]);
        assert_eq!(texts("<f8", &3.5_f64.to_le_bytes()).unwrap_err().found, "3.5");
        assert_eq!(texts("<u8", &u64::MAX.to_le_bytes()).unwrap(), [u64::MAX.to_string()]);
    }
}
