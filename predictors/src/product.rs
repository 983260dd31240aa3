//! Matrix products: the one place where this crate calls `gemm`.

// `gemm` takes raw pointers; the lengths are asserted before they are formed.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A view of a row-major matrix, possibly transposed.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl<'a> Matrix<'a> {
    /// `data` as `[rows, columns]`, row by row.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix holds rows x columns numbers");
        Self { data, rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = keep * out + a b`, where `out` is row-major `[a.rows, b.columns]`; on one thread, so that sums are always
/// taken in the same order.
pub(crate) fn product(out: &mut [f32], keep: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product agree");
    assert_eq!(out.len(), a.rows * b.columns, "a product's output is rows x columns");
    // SAFETY: by `Matrix::new`'s and the assertions above, every index below stays within its slice, and `out` is
    // borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.column_stride,
            a.row_stride,
            b.data.as_ptr(),
            b.column_stride,
            b.row_stride,
            keep,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // Small whole numbers are exact.
    fn products_agree_with_a_hand_computed_case() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0];
        let mut out = [100.0; 4];
        product(&mut out, 0.0, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
        assert_eq!(out, [5.0, 11.0, 14.0, 23.0]);
        product(&mut out, 1.0, Matrix::new(&a, 3, 2).transposed(), Matrix::new(&b, 3, 2));
        assert_eq!(out, [5.0 + 7.0, 11.0 + 18.0, 14.0 + 10.0, 23.0 + 22.0]);
    }
}
