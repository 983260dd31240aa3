//! A space's choices as plain numbers, for strategies that make them one by one.

use netfit_spaces::{Genotype, Random, Space};

/// What a strategy needs to know of a space's choices.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    space: Space,
    sizes: Vec<usize>,
}

impl Choices {
    pub(super) fn new(space: &Space) -> Self {
        let sizes = space.choices().iter().map(|choice| choice.size).collect();
        Self { space: space.clone(), sizes }
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// How many values each choice has.
    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Whether the choice at `index` matters under the values before it.
    pub(super) fn active(&self, values: &[u8], index: usize) -> bool {
        self.space.choices()[index].active(values)
    }

    /// Asks `value` for each choice in order that is active under those before it; the others are 0.
    pub(super) fn build(&self, mut value: impl FnMut(usize, &[u8]) -> u8) -> Vec<u8> {
        let mut values = Vec::with_capacity(self.sizes.len());
        for index in 0..self.sizes.len() {
            let active = self.active(&values, index);
            let next = if active { value(index, &values) } else { 0 };
            values.push(next);
        }
        values
    }

    /// The genotype of values that [`Self::build`] made.
    ///
    /// # Panics
    /// Values that are not of this space, which is a bug.
    pub(super) fn genotype(&self, values: &[u8]) -> Genotype {
        self.space.genotype(values).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// `genotype` with at least `changes` of its choices changed to another value (all of them, where it has fewer).
    /// A choice that becomes active by a change is drawn uniformly: left at 0 it would favour the first value.
    pub(super) fn mutate(
        &self,
        genotype: &Genotype,
        changes: usize,
        random: &mut Random,
    ) -> Genotype {
        let old = genotype.values();
        let free = |&index: &usize| self.sizes[index] > 1 && self.active(old, index);
        let mut places: Vec<usize> = (0..old.len()).filter(free).collect();
        random.shuffle(&mut places);
        places.truncate(changes);
        let values = self.build(|index, _| {
            let size = self.sizes[index];
            if places.contains(&index) {
                // One of the size - 1 other values.
                ((usize::from(old[index]) + 1 + random.below(size - 1)) % size) as u8
            } else if self.active(old, index) {
                old[index]
            } else {
                random.below(size) as u8
            }
        });
        self.genotype(&values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn activity_is_the_spaces_own() {
        for preset in ["ofa-28", "ofa-mbv3-multi", "nas-bench-macro", "mnasnet"] {
            let space = Space::preset(preset).unwrap();
            let choices = Choices::new(&space);
            let mut random = Random::new(0, "choices");
            for _ in 0..200 {
                let genotype = space.sample(&mut random);
                let values = genotype.values();
                for index in 0..values.len() {
                    let expected = space.active(&genotype, index);
                    assert_eq!(choices.active(values, index), expected, "{genotype} at {index}");
                }
                assert_eq!(choices.build(|index, _| values[index]), values);
                assert_eq!(choices.genotype(values), genotype);
            }
        }
    }

    #[test]
    fn a_mutation_changes_one_active_choice_and_draws_what_it_switches_on() {
        let space = Space::preset("ofa-28").unwrap();
        let choices = Choices::new(&space);
        let mut random = Random::new(1, "choices");
        let mut switched_on = [0; 3];
        for _ in 0..2000 {
            let parent = space.sample(&mut random);
            let child = choices.mutate(&parent, 1, &mut random);
            let both = |&index: &usize| {
                choices.active(parent.values(), index) && choices.active(child.values(), index)
            };
            let changed = |&index: &usize| parent.values()[index] != child.values()[index];
            let places = 0..parent.values().len();
            assert_eq!(places.clone().filter(both).filter(changed).count(), 1, "{parent} {child}");
            for index in places.filter(|&index| !choices.active(parent.values(), index)) {
                if choices.sizes[index] == 3 && choices.active(child.values(), index) {
                    switched_on[usize::from(child.values()[index])] += 1;
                }
            }
        }
        let total: usize = switched_on.iter().sum();
        assert!(total > 300, "{total}");
        assert!(switched_on.iter().all(|&count| count * 4 > total), "{switched_on:?}");
    }
}
