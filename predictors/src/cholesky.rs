//! Symmetric positive definite systems.
//!
//! linfa-linalg's decomposition walks down columns and sums in one lane, which is several times slower than the rows
//! in eight lanes here; a predictor's fit is little else.

/// Sums kept apart, so that the processor can add them at once; the order of additions is fixed all the same.
const LANES: usize = 8;

/// The lower triangle `l` of `a = l l'`, row by row.
pub(crate) struct Cholesky {
    size: usize,
    rows: Vec<f64>,
}

impl Cholesky {
    /// Decomposes `a`, `[size, size]`, of which only the lower triangle is read; none where it is not positive
    /// definite.
    pub(crate) fn new(mut a: Vec<f64>, size: usize) -> Option<Self> {
        for i in 0..size {
            let (above, from) = a.split_at_mut(i * size);
            let row = &mut from[..size];
            for j in 0..i {
                let other = &above[j * size..][..=j];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            if !(square > 0.0 && square.is_finite()) {
                return None;
            }
            row[i] = square.sqrt();
        }
        Some(Self { size, rows: a })
    }

    /// The logarithm of the determinant of `a`.
    pub(crate) fn log_determinant(&self) -> f64 {
        (0..self.size).map(|i| 2.0 * self.rows[i * self.size + i].ln()).sum()
    }

    /// The inverse of `a`, `[size, size]`.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let size = self.size;
        // Row i holds column i of the inverse of l; its first i entries are 0.
        let mut columns = vec![0.0; size * size];
        for (i, column) in columns.chunks_exact_mut(size).enumerate() {
            column[i] = 1.0 / self.rows[i * size + i];
            for k in i + 1..size {
                let row = &self.rows[k * size..][..=k];
                column[k] = -dot(&row[i..k], &column[i..k]) / row[k];
            }
        }
        let mut inverse = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let entry =
                    dot(&columns[i * size + i..][..size - i], &columns[j * size + i..][..size - i]);
                inverse[i * size + j] = entry;
                inverse[j * size + i] = entry;
            }
        }
        inverse
    }

    /// The solution of `a x = b`.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let (size, mut x) = (self.size, b.to_vec());
        for i in 0..size {
            let row = &self.rows[i * size..][..=i];
            x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
        }
        for i in (0..size).rev() {
            let row = &self.rows[i * size..][..=i];
            x[i] /= row[i];
            let last = x[i];
            for (value, factor) in x.iter_mut().zip(&row[..i]) {
                *value -= factor * last;
            }
        }
        x
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_whole, b_whole) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_whole.remainder().iter().zip(b_whole.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_whole.zip(b_whole) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    #[test]
    fn a_hand_computed_system_is_solved() {
        // l = [[2, 0], [1, 3]]; the determinant is 36.
        let cholesky = Cholesky::new(vec![4.0, f64::NAN, 2.0, 10.0], 2).unwrap();
        assert!((cholesky.log_determinant() - 36.0_f64.ln()).abs() < 1e-12);
        let x = cholesky.solve(&[8.0, 22.0]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
    }

    #[test]
    fn solutions_satisfy_their_systems() {
        let (size, mut random) = (37, Random::new(0, "cholesky"));
        let factor: Vec<f64> = (0..size * size).map(|_| random.normal()).collect();
        let entry = |i: usize, j: usize| {
            let product = (0..size).map(|k| factor[i * size + k] * factor[j * size + k]);
            product.sum::<f64>() + f64::from(u8::from(i == j))
        };
        let a: Vec<f64> = (0..size * size).map(|at| entry(at / size, at % size)).collect();
        let b: Vec<f64> = (0..size).map(|_| random.normal()).collect();
        let cholesky = Cholesky::new(a.clone(), size).unwrap();
        let (x, inverse) = (cholesky.solve(&b), cholesky.inverse());
        for (row, x) in inverse.chunks_exact(size).zip(&x) {
            let found: f64 = row.iter().zip(&b).map(|(entry, b)| entry * b).sum();
            assert!((found - x).abs() < 1e-9, "{found} {x}");
        }
        for (row, b) in a.chunks_exact(size).zip(&b) {
            let found: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            assert!((found - b).abs() < 1e-9, "{found} {b}");
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_root() {
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
    }
}
