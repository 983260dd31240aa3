//! Functions over choices: sampling, mutation, crossover, enumeration, encoding.

use std::ops::Range;

use crate::{Choice, ChoiceKind, Genotype, Random, Space};

impl Space {
    /// A genotype drawn uniformly per choice.
    pub fn sample(&self, random: &mut Random) -> Genotype {
        self.sample_within(random, |choice| 0..choice.size)
    }

    /// A genotype drawn uniformly per choice from the values that `allowed` leaves.
    pub fn sample_within(
        &self,
        random: &mut Random,
        allowed: impl Fn(&Choice) -> Range<usize>,
    ) -> Genotype {
        let draw = |choice: &Choice| {
            let values = allowed(choice);
            (values.start + random.below(values.len())) as u8
        };
        self.canonical(Genotype(self.choices().iter().map(draw).collect()))
    }

    /// Draws again with probability `rate(kind)`; the kernel and the expansion of a layer are drawn together
    /// (Once-for-All's `mutate_sample`).
    pub fn mutate(
        &self,
        genotype: &Genotype,
        random: &mut Random,
        rate: impl Fn(ChoiceKind) -> f64,
    ) -> Genotype {
        let mut child = genotype.clone();
        let mut redraw = false;
        let choices = self.choices().iter().zip(self.opens());
        for (value, (choice, &opens)) in child.0.iter_mut().zip(choices) {
            if opens {
                redraw = random.chance(rate(choice.kind));
            }
            if redraw {
                *value = random.below(choice.size) as u8;
            }
        }
        self.canonical(child)
    }

    /// Each choice from either parent with equal probability.
    pub fn crossover(&self, a: &Genotype, b: &Genotype, random: &mut Random) -> Genotype {
        let mut child = a.clone();
        for (values, others) in child.0.chunks_mut(64).zip(b.0.chunks(64)) {
            // One draw for 64 choices: a draw costs more than all that is done with its bits.
            let mut bits = random.bits();
            for (value, &other) in values.iter_mut().zip(others) {
                if bits & 1 == 1 {
                    *value = other;
                }
                bits >>= 1;
            }
        }
        self.canonical(child)
    }

    /// Every canonical genotype, in ascending order of the last choice; only for spaces small enough to walk.
    pub fn enumerate(&self) -> impl Iterator<Item = Genotype> + '_ {
        let mut next = Some(self.smallest());
        std::iter::from_fn(move || {
            let current = next.take()?;
            next = self.successor(&current);
            Some(current)
        })
    }

    fn successor(&self, genotype: &Genotype) -> Option<Genotype> {
        let mut following = genotype.clone();
        for index in (0..self.choices().len()).rev() {
            if !self.active(&following, index) {
                continue;
            }
            if usize::from(following.0[index]) + 1 < self.choices()[index].size {
                following.0[index] += 1;
                following.0[index + 1..].fill(0);
                return Some(following);
            }
        }
        None
    }

    /// Length of [`Space::encode`]'s output.
    pub fn encoding_width(&self) -> usize {
        self.encoded().map(|(_, choice)| choice.size).sum()
    }

    /// One-hot encoding of the active choices (zeros where inactive) into `row`, which holds
    /// [`Space::encoding_width`] numbers. A depth is left out where its layers' zeros already tell it
    /// (Once-for-All, section 3.4).
    pub fn encode(&self, genotype: &Genotype, row: &mut [f32]) {
        row.fill(0.0);
        for place in self.encoded_ones(genotype) {
            row[place] = 1.0;
        }
    }

    /// The places of the ones in [`Space::encode`]'s row, ascending.
    pub fn encoded_ones(&self, genotype: &Genotype) -> impl Iterator<Item = usize> {
        let (mut offset, values) = (0, genotype.values());
        self.encoded().filter_map(move |(index, choice)| {
            let place = offset + usize::from(values[index]);
            offset += choice.size;
            choice.active(values).then_some(place)
        })
    }
}

/// For each choice, whether it is the first at its place.
pub(crate) fn opens(choices: &[Choice]) -> Vec<bool> {
    let places: Vec<_> = choices.iter().map(|choice| place(choice.kind)).collect();
    let before = std::iter::once(None).chain(places.iter().map(Some));
    places.iter().zip(before).map(|(place, before)| before != Some(place)).collect()
}

/// Choices of one layer share a place.
fn place(kind: ChoiceKind) -> (u8, usize, usize) {
    match kind {
        ChoiceKind::Resolution => (0, 0, 0),
        ChoiceKind::Depth { stage } => (1, stage, 0),
        ChoiceKind::Kernel { stage, layer }
        | ChoiceKind::Expand { stage, layer }
        | ChoiceKind::Op { stage, layer } => (2, stage, layer),
        ChoiceKind::Squeeze { stage } | ChoiceKind::Skip { stage } => (2, stage, 0),
        ChoiceKind::Width { stage } => (3, stage, 0),
    }
}
