//! Cutting a part from a data set, class by class.

use netfit_spaces::Random;

/// How many of a class's `n` images a cut of this fraction takes: rounded, but at least one and not all
/// (a class of one image gives none; a fraction of 0 takes none).
pub(crate) fn share(n: usize, fraction: f64) -> usize {
    if fraction == 0.0 || n < 2 {
        return 0;
    }
    ((n as f64 * fraction).round() as usize).clamp(1, n - 1)
}

/// Indices of `targets` in two parts, the second with `fraction` of each class; both in ascending order.
pub(crate) fn stratified(
    targets: &[u16],
    fraction: f64,
    random: &mut Random,
) -> (Vec<usize>, Vec<usize>) {
    let classes = targets.iter().max().map_or(0, |&last| usize::from(last) + 1);
    let mut members = vec![Vec::new(); classes];
    for (index, &target) in targets.iter().enumerate() {
        members[usize::from(target)].push(index);
    }
    let mut cut = vec![false; targets.len()];
    for class in &mut members {
        random.shuffle(class);
        for &index in &class[..share(class.len(), fraction)] {
            cut[index] = true;
        }
    }
    (0..targets.len()).partition(|&index| !cut[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_disjoint_complete_and_stratified() {
        // 60 of class 0, 30 of class 1, 6 of class 2.
        let targets: Vec<u16> = (0..96u16)
            .map(|i| match i % 16 {
                0..10 => 0,
                10..15 => 1,
                _ => 2,
            })
            .collect();
        let (rest, cut) = stratified(&targets, 1.0 / 6.0, &mut Random::new(1, "holdout"));
        let mut all = [rest.clone(), cut.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..96).collect::<Vec<_>>());
        for (class, count) in [(0, 10), (1, 5), (2, 1)] {
            assert_eq!(cut.iter().filter(|&&i| targets[i] == class).count(), count);
        }
        assert!(rest.is_sorted() && cut.is_sorted());
    }

    #[test]
    fn the_seed_decides_the_cut() {
        let cut = |seed| stratified(&[0; 50], 0.2, &mut Random::new(seed, "holdout")).1;
        assert_eq!(cut(1), cut(1));
        assert_ne!(cut(1), cut(2));
    }

    #[test]
    fn small_classes_give_at_least_one_and_keep_one() {
        assert_eq!([0, 1, 2, 3, 10].map(|n| share(n, 0.01)), [0, 0, 1, 1, 1]);
        assert_eq!([1, 2, 10].map(|n| share(n, 0.99)), [0, 1, 9]);
        assert_eq!(share(100, 0.0), 0);
    }
}
