//! Robust linear regression of relative errors.

use crate::median;

/// Coefficients `c` that minimise Huber's loss (k = 1.345 robust standard deviations) of the relative error
/// `(sum_j c_j columns[j][i] - y[i]) / y[i]`, by reweighted least squares. None where they are not determined.
pub fn fit(columns: &[&[f64]], y: &[f64]) -> Option<Vec<f64>> {
    let mut weights = vec![1.0; y.len()];
    let mut coefficients = least_squares(columns, y, &weights)?;
    for _ in 0..20 {
        let errors: Vec<f64> =
            (0..y.len()).map(|i| (row(columns, &coefficients, i) / y[i] - 1.0).abs()).collect();
        let bound = 1.345 * 1.4826 * median(&errors);
        for (weight, error) in weights.iter_mut().zip(&errors) {
            *weight = if *error > bound { bound / error } else { 1.0 };
        }
        // Errors of almost nothing everywhere: what is left is rounding.
        if bound < 1e-12 {
            break;
        }
        coefficients = least_squares(columns, y, &weights)?;
    }
    Some(coefficients)
}

/// The prediction of row `i`.
pub(crate) fn row(columns: &[&[f64]], coefficients: &[f64], i: usize) -> f64 {
    columns.iter().zip(coefficients).map(|(column, c)| c * column[i]).sum()
}

/// The prediction of each row by the fit to all others.
pub(crate) fn leave_one_out(columns: &[&[f64]], y: &[f64]) -> Option<Vec<f64>> {
    let fits = fits_without_one(columns, y)?;
    Some(fits.iter().enumerate().map(|(i, fit)| row(columns, fit, i)).collect())
}

/// For each row the coefficients of the fit to all others.
pub(crate) fn fits_without_one(columns: &[&[f64]], y: &[f64]) -> Option<Vec<Vec<f64>>> {
    without_one(columns, y, fit)
}

/// For each row what `fit` makes of all others.
pub(crate) fn without_one<T>(
    columns: &[&[f64]],
    y: &[f64],
    fit: impl Fn(&[&[f64]], &[f64]) -> Option<T>,
) -> Option<Vec<T>> {
    let fitted = |i: usize| {
        let rest: Vec<Vec<f64>> = columns.iter().map(|column| without(column, i)).collect();
        let rest: Vec<&[f64]> = rest.iter().map(Vec::as_slice).collect();
        fit(&rest, &without(y, i))
    };
    (0..y.len()).map(fitted).collect()
}

/// All values but that one.
fn without(values: &[f64], i: usize) -> Vec<f64> {
    [&values[..i], &values[i + 1..]].concat()
}

/// Weighted least squares of the relative error by the normal equations, on columns scaled to a length of 1.
fn least_squares(columns: &[&[f64]], y: &[f64], weights: &[f64]) -> Option<Vec<f64>> {
    if y.len() < columns.len() {
        return None;
    }
    let relative =
        |column: &[f64]| -> Vec<f64> { column.iter().zip(y).map(|(x, y)| x / y).collect() };
    let dot = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).zip(weights).map(|((a, b), w)| w * a * b).sum()
    };
    let mut scaled: Vec<Vec<f64>> = columns.iter().map(|column| relative(column)).collect();
    let mut lengths = Vec::new();
    for column in &mut scaled {
        let length = dot(column, column).sqrt();
        if !(length.is_finite() && length > 0.0) {
            return None;
        }
        for x in column.iter_mut() {
            *x /= length;
        }
        lengths.push(length);
    }
    let ones = vec![1.0; y.len()];
    let mut rows: Vec<Vec<f64>> = scaled
        .iter()
        .map(|a| scaled.iter().map(|b| dot(a, b)).chain([dot(a, &ones)]).collect())
        .collect();
    let solution = solve(&mut rows)?;
    Some(solution.iter().zip(lengths).map(|(c, length)| c / length).collect())
}

/// Gaussian elimination of a positive definite system with its right side in the last column; none where a pivot
/// is lost in rounding.
pub(crate) fn solve(rows: &mut [Vec<f64>]) -> Option<Vec<f64>> {
    let n = rows.len();
    for pivot in 0..n {
        if rows[pivot][pivot].is_nan() || rows[pivot][pivot] < 1e-9 {
            return None;
        }
        let above = rows[pivot].clone();
        for row in &mut rows[pivot + 1..] {
            let factor = row[pivot] / above[pivot];
            row[pivot..]
                .iter_mut()
                .zip(&above[pivot..])
                .for_each(|(x, above)| *x -= factor * above);
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    solution.iter().all(|x| x.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_coefficients_are_found_among_outliers() {
        let x: Vec<f64> = (1..=24).map(f64::from).collect();
        let z: Vec<f64> = (0..24).map(|i| f64::from(i * i % 7)).collect();
        let ones = vec![1.0; 24];
        let mut y: Vec<f64> = x.iter().zip(&z).map(|(x, z)| 3e-4 + 2e-4 * x - 1e-5 * z).collect();
        y[3] *= 1.5;
        y[17] *= 2.0;
        let found = fit(&[&ones, &x, &z], &y).unwrap();
        for (found, planted) in found.iter().zip([3e-4, 2e-4, -1e-5]) {
            assert!((found / planted - 1.0).abs() < 1e-3, "{found} {planted}");
        }
    }

    #[test]
    fn dependent_columns_determine_nothing() {
        let (ones, twos) = (vec![1.0; 5], vec![2.0; 5]);
        assert_eq!(fit(&[&ones, &twos], &[4.0; 5]), None);
        assert_eq!(fit(&[&ones], &[]), None);
    }
}
