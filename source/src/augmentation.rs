//! Random views of an image.

use rand::Rng;
use scff::batch::{SampleKey, Variant};
use scff::seed::{Purpose, Seed, below};

use super::image::Image;
use super::offset::Offset;
use super::shape::Shape;

/// What training does to an image before a layer sees it: it is moved, then perhaps mirrored.
///
/// A view is a [`Variant`]: `draw` picks one, `apply` makes it, and variant 0 is the image as it is. Without flips
/// variants number the moves; with them variant 2m is move m, and variant 2m + 1 is its mirror image, so that
/// variant 1 is the mirror image of the image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    moves: Moves,
    flip: bool,
}

/// How an image may be moved in its frame. Background is filled in; move 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Not at all.
    None,
    /// Along each axis by round(u) pixels, u uniform in [-p, p].
    ///
    /// So +-p have probability 1/(4p) each and every offset between them 1/(2p). The move of an offset is
    /// (down * (2p + 1) + right) mod (2p + 1)^2.
    Translation {
        /// p.
        pixels: u8,
    },
    /// Along each axis by -p to p pixels, all alike: a random crop out of the image with p pixels of background
    /// around it. Moves are numbered as those of a translation.
    Crop {
        /// p.
        padding: u8,
    },
    /// Each sample has a few crops of its own: move 0, and others that are drawn once for all.
    FewCrops {
        /// p.
        padding: u8,
        /// How many crops a sample has, together with move 0.
        crops: u16,
        /// Which ones follows from it, the sample's index and the move's number.
        seed: Seed,
    },
}

impl Augmentation {
    /// Nothing.
    pub const NONE: Self = Self { moves: Moves::None, flip: false };
    /// Mirror images and nothing else.
    pub const FLIPS: Self = Self { moves: Moves::None, flip: true };

    /// Moves, and, where told, flips: every view is mirrored left to right with probability 1/2.
    ///
    /// `None` where there are more variants than a u16 counts.
    pub fn new(moves: Moves, flip: bool) -> Option<Self> {
        let mirrored = if flip { 2 } else { 1 };
        u16::try_from(moves.count() * mirrored).ok().map(|_| Self { moves, flip })
    }

    /// Whether views are mirrored.
    pub fn flips(self) -> bool {
        self.flip
    }

    /// How many variants there are; they are numbered from 0.
    pub fn variants(self) -> u16 {
        self.moves.count() as u16 * self.sides()
    }

    /// A random variant: its move, then whether it is mirrored.
    pub fn draw(self, random: &mut impl Rng) -> Variant {
        let moved = self.moves.draw(random);
        let mirrored = if self.flip { below(random, 2) as u16 } else { 0 };
        Variant(moved.0 * self.sides() + mirrored)
    }

    /// Writes the view `key` of `image` to `out`, (height, width, channels).
    pub fn apply(self, key: SampleKey, image: Image<'_>, out: &mut [f32]) {
        let SampleKey { index, variant } = key;
        assert!(variant.0 < self.variants(), "{self:?} has no variant {}", variant.0);
        let moved = SampleKey { index, variant: Variant(variant.0 / self.sides()) };
        match self.moves.offset(moved) {
            Offset { down: 0, right: 0 } => out.copy_from_slice(image.values),
            offset => offset.apply(image, out),
        }
        if variant.0 % self.sides() == 1 {
            mirror(image.shape, out);
        }
    }

    /// How many variants each move has.
    fn sides(self) -> u16 {
        if self.flip { 2 } else { 1 }
    }
}

impl Moves {
    /// How many moves there are.
    pub fn count(self) -> u32 {
        match self {
            Self::None => 1,
            Self::Translation { pixels: p } | Self::Crop { padding: p } => Offset::count(p),
            Self::FewCrops { crops, .. } => u32::from(crops),
        }
    }

    /// A random move: for a translation the offset down, then the offset right.
    fn draw(self, random: &mut impl Rng) -> Variant {
        match self {
            Self::None | Self::Translation { pixels: 0 } => Variant(0),
            Self::Translation { pixels } => {
                let bound = 4 * u32::from(pixels);
                let down = offset_of(below(random, bound), pixels);
                let right = offset_of(below(random, bound), pixels);
                Offset { down, right }.variant(pixels)
            }
            Self::Crop { .. } | Self::FewCrops { .. } => Variant(below(random, self.count()) as u16),
        }
    }

    /// Where the move that `key` numbers takes that sample.
    fn offset(self, key: SampleKey) -> Offset {
        match self {
            Self::None => Offset { down: 0, right: 0 },
            Self::Translation { pixels: p } | Self::Crop { padding: p } => Offset::of(key.variant, p),
            Self::FewCrops { padding, .. } if key.variant == Variant(0) => Offset::of(Variant(0), padding),
            Self::FewCrops { padding, seed, .. } => {
                let drawn = below(&mut seed.view_stream(Purpose::Crops, key), Offset::count(padding));
                Offset::of(Variant(drawn as u16), padding)
            }
        }
    }
}

/// The offset of one axis for a number drawn from 0..4p: -p for 0, p for 4p - 1, two numbers for each other.
fn offset_of(drawn: u32, pixels: u8) -> i32 {
    drawn.div_ceil(2) as i32 - i32::from(pixels)
}

/// Turns the image in `out`, (height, width, channels), into its mirror image, left for right.
fn mirror(shape: Shape, out: &mut [f32]) {
    let channels = shape.channels;
    for row in out.chunks_exact_mut(shape.width * channels) {
        let (left, right) = row.split_at_mut(shape.width / 2 * channels);
        for (left, right) in left.chunks_exact_mut(channels).zip(right.rchunks_exact_mut(channels)) {
            left.swap_with_slice(right);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use scff::batch::{Epoch, LayerIndex, Step};

    use super::*;

    const SHAPE: Shape = Shape { height: 4, width: 5, channels: 2 };
    const BACKGROUND: [f32; 2] = [-1.0, -2.0];
    const SEED: Seed = Seed(1);

    fn augmentation(moves: Moves, flip: bool) -> Augmentation {
        Augmentation::new(moves, flip).unwrap()
    }

    fn few(padding: u8, crops: u16) -> Moves {
        Moves::FewCrops { padding, crops, seed: SEED }
    }

    fn every_kind() -> impl Iterator<Item = Augmentation> {
        let translations = [0, 1, 2, 7].map(|pixels| Moves::Translation { pixels });
        let crops = [1, 3].map(|padding| Moves::Crop { padding });
        let moves = [Moves::None, few(2, 5)].into_iter().chain(translations).chain(crops);
        moves.flat_map(|moves| [false, true].map(|flip| augmentation(moves, flip)))
    }

    fn key(index: u32, variant: u16) -> SampleKey {
        SampleKey { index, variant: Variant(variant) }
    }

    fn stream(number: u64) -> impl Rng {
        SEED.stream(Purpose::Augmentation, LayerIndex(0), Epoch(0), Step(number))
    }

    fn view(augmentation: Augmentation, key: SampleKey, values: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; SHAPE.len()];
        augmentation.apply(key, Image { shape: SHAPE, values, background: &BACKGROUND }, &mut out);
        out
    }

    /// moved[y][x] = image[y - down][x - right], the background outside; out[y][x] = moved[y][W - 1 - x] where
    /// mirrored.
    fn naive(offset: Offset, mirrored: bool, image: &[f32]) -> Vec<f32> {
        let (height, width) = (SHAPE.height as i32, SHAPE.width as i32);
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let x = if mirrored { width - 1 - x } else { x };
                let (y, x) = (y - offset.down, x - offset.right);
                let inside = (0..height).contains(&y) && (0..width).contains(&x);
                for (channel, background) in BACKGROUND.into_iter().enumerate() {
                    let at = (y * width + x) * 2 + channel as i32;
                    out.push(if inside { image[at as usize] } else { background });
                }
            }
        }
        out
    }

    #[test]
    fn every_offset_of_a_translation_has_exactly_its_probability() {
        for p in [1_u8, 2, 3, 127] {
            let mut counts = HashMap::new();
            for drawn in 0..4 * u32::from(p) {
                *counts.entry(offset_of(drawn, p)).or_insert(0) += 1;
            }
            let p = i32::from(p);
            assert_eq!(counts.len() as i32, 2 * p + 1);
            for offset in -p..=p {
                // In units of 1/(4p): 1/(4p) at the ends, 1/(2p) between them.
                assert_eq!(counts[&offset], if offset.abs() == p { 1 } else { 2 }, "offset {offset} of {p}");
            }
        }
    }

    #[test]
    fn every_view_equals_its_naive_twin() {
        let image: Vec<f32> = (1..=SHAPE.len()).map(|i| i as f32).collect();
        for augmentation in every_kind() {
            for variant in 0..augmentation.variants() {
                let (moved, mirrored) =
                    if augmentation.flip { (variant / 2, variant % 2 == 1) } else { (variant, false) };
                let offset = augmentation.moves.offset(key(6, moved));
                let found = view(augmentation, key(6, variant), &image);
                assert_eq!(found, naive(offset, mirrored, &image), "{variant} of {augmentation:?}");
            }
        }
    }

    #[test]
    fn variant_0_is_the_image_as_it_is() {
        let image: Vec<f32> = (0..SHAPE.len()).map(|i| i as f32).collect();
        for augmentation in every_kind() {
            assert_eq!(view(augmentation, key(3, 0), &image), image, "{augmentation:?}");
        }
    }

    #[test]
    fn with_flips_variant_1_is_the_mirror_image_and_there_are_twice_as_many() {
        let image: Vec<f32> = (0..SHAPE.len()).map(|i| i as f32).collect();
        let mirrored = naive(Offset { down: 0, right: 0 }, true, &image);
        assert_ne!(mirrored, image);
        for moves in [Moves::None, Moves::Translation { pixels: 2 }, Moves::Crop { padding: 1 }, few(1, 4)] {
            let flipped = augmentation(moves, true);
            assert_eq!(view(flipped, key(3, 1), &image), mirrored, "{moves:?}");
            assert_eq!(flipped.variants(), 2 * augmentation(moves, false).variants());
        }
        assert_eq!(augmentation(Moves::None, true).variants(), 2);
    }

    #[test]
    fn what_cannot_be_numbered_is_refused() {
        for (moves, flip, numbered) in [
            (Moves::Translation { pixels: 127 }, false, true),
            (Moves::Translation { pixels: 128 }, false, false),
            (Moves::Crop { padding: 90 }, true, true),
            (Moves::Crop { padding: 91 }, true, false),
            (Moves::Crop { padding: 255 }, true, false),
            (few(4, u16::MAX), false, true),
            (few(4, u16::MAX), true, false),
        ] {
            assert_eq!(Augmentation::new(moves, flip).is_some(), numbered, "{moves:?} {flip}");
        }
    }

    #[test]
    fn drawn_translations_are_spread_as_the_product_of_both_axes() {
        let augmentation = augmentation(Moves::Translation { pixels: 2 }, false);
        let mut random = stream(0);
        let mut counts = [0_i32; 25];
        for _ in 0..64_000 {
            counts[usize::from(augmentation.draw(&mut random).0)] += 1;
        }
        for (variant, count) in counts.into_iter().enumerate() {
            let Offset { down, right } = Offset::of(Variant(variant as u16), 2);
            let weight = |offset: i32| if offset.abs() == 2 { 1 } else { 2 };
            let expected = 1000 * weight(down) * weight(right);
            // Five standard deviations of the largest binomial count: 5 * sqrt(4000) = 316.
            assert!((count - expected).abs() < 316, "{down} {right}: {count}, expected {expected}");
        }
    }

    #[test]
    fn drawn_crops_and_flips_are_spread_evenly() {
        for moves in [Moves::None, Moves::Crop { padding: 1 }, few(3, 9)] {
            let augmentation = augmentation(moves, true);
            let mut random = stream(0);
            let mut counts = vec![0_i32; usize::from(augmentation.variants())];
            for _ in 0..2_000 * counts.len() {
                counts[usize::from(augmentation.draw(&mut random).0)] += 1;
            }
            // Five standard deviations of a binomial count: 5 * sqrt(2000) = 224.
            assert!(counts.iter().all(|count| (count - 2_000).abs() < 224), "{moves:?}: {counts:?}");
        }
    }

    #[test]
    fn flips_draw_after_moves_and_change_none_of_them() {
        let moves = Moves::Translation { pixels: 2 };
        for number in 0..100 {
            let moved = augmentation(moves, false).draw(&mut stream(number));
            let flipped = augmentation(moves, true).draw(&mut stream(number));
            assert_eq!(flipped.0 / 2, moved.0);
        }
    }

    #[test]
    fn a_sample_keeps_its_few_crops_and_others_have_others() {
        let offsets = |moves: Moves, index: u32| {
            (0..20).map(|number| moves.offset(key(index, number))).collect::<Vec<_>>()
        };
        let moves = few(4, 20);
        assert_eq!(offsets(moves, 7), offsets(moves, 7));
        assert_ne!(offsets(moves, 7), offsets(moves, 8));
        assert_ne!(offsets(moves, 7), offsets(Moves::FewCrops { padding: 4, crops: 20, seed: Seed(2) }, 7));
    }

    #[test]
    fn few_crops_reach_every_offset_over_many_samples() {
        let reached: HashSet<_> = (0..2_000)
            .map(|index| few(2, 2).offset(key(index, 1)))
            .map(|offset| (offset.down, offset.right))
            .collect();
        assert_eq!(reached.len(), 25);
    }

    #[test]
    fn without_augmentation_nothing_is_drawn() {
        for none in [Augmentation::NONE, augmentation(Moves::Translation { pixels: 0 }, false)] {
            let mut random = stream(0);
            assert_eq!(none.draw(&mut random), Variant(0));
            assert_eq!(random.next_u64(), stream(0).next_u64());
        }
    }
}
