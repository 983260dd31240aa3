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
    /// (Once-for-All's `mutate_sample`). What the parent does not have, as layers beyond its depth, is drawn, too: left at
    /// 0, it would favour the first value. (There, genotypes keep values of layers that are not in use.)
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
            if redraw || !choice.active(&genotype.0) {
                *value = random.below(choice.size) as u8;
            }
        }
        self.canonical(child)
    }

    /// Each choice from either parent with equal probability; one that only one of them has is taken from that one.
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
        for (index, choice) in self.choices().iter().enumerate() {
            match (choice.active(&a.0), choice.active(&b.0)) {
                (true, false) => child.0[index] = a.0[index],
                (false, true) => child.0[index] = b.0[index],
                _ => {}
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The first stage of `ofa-mbv3` at depth 2, 3 or 4, every layer at its last kernel and expansion.
    fn with_depth(space: &Space, depth: u8) -> Genotype {
        let mut genotype = space.largest();
        let first = |choice: &Choice| choice.kind == ChoiceKind::Depth { stage: 0 };
        let index = space.choices().iter().position(first).unwrap();
        genotype.0[index] = depth;
        space.canonical(genotype)
    }

    /// How often each value is that of the kernel of the first stage's last layer.
    fn last_kernels(space: &Space, mut child: impl FnMut(&mut Random) -> Genotype) -> [usize; 3] {
        let last = |choice: &Choice| choice.kind == ChoiceKind::Kernel { stage: 0, layer: 3 };
        let index = space.choices().iter().position(last).unwrap();
        let (mut counts, mut random) = ([0; 3], Random::new(0, "children"));
        while counts.iter().sum::<usize>() < 600 {
            let child = child(&mut random);
            if space.active(&child, index) {
                counts[usize::from(child.values()[index])] += 1;
            }
        }
        counts
    }

    #[test]
    fn layers_that_a_mutation_adds_have_any_kernel() {
        let space = Space::preset("ofa-mbv3").unwrap();
        let shallow = with_depth(&space, 0);
        let only_depths = |kind| f64::from(u8::from(matches!(kind, ChoiceKind::Depth { .. })));
        let counts = last_kernels(&space, |random| space.mutate(&shallow, random, only_depths));
        assert!(counts.iter().all(|count| (150..250).contains(count)), "{counts:?}");
    }

    #[test]
    fn layers_that_one_parent_has_are_taken_from_it() {
        let space = Space::preset("ofa-mbv3").unwrap();
        let (shallow, deep) = (with_depth(&space, 0), with_depth(&space, 2));
        for (a, b) in [(&shallow, &deep), (&deep, &shallow)] {
            let counts = last_kernels(&space, |random| space.crossover(a, b, random));
            assert_eq!(counts, [0, 0, 600]);
        }
    }
}
