//! Every correction of one source's times that the calibration networks determine.

use netfit_spaces::{Block, Network};

use crate::{
    Affine, Correction, Source,
    calibration::earns_its_place,
    regression::{self, leave_one_out},
    ridge::{self, Blocks},
    rmspe,
};

/// A correction and its leave-one-out predictions.
pub(crate) struct Fitted {
    pub(crate) correction: Correction,
    pub(crate) predicted: Vec<f64>,
}

/// What a correction can be a function of: for each network 1, the sum of its blocks' times, that of their kernels,
/// and both by block.
pub(crate) struct Columns {
    ones: Vec<f64>,
    sums: Vec<f64>,
    kernels: Vec<f64>,
    blocks: Blocks,
}

impl Columns {
    /// The columns of `networks`, or the first block without an entry.
    pub(crate) fn of<'a>(
        source: &Source,
        networks: &'a [(Network, f64)],
    ) -> Result<Self, &'a Block> {
        let mut columns = Self {
            ones: vec![1.0; networks.len()],
            sums: Vec::new(),
            kernels: Vec::new(),
            blocks: Blocks::of(source, networks),
        };
        for (network, _) in networks {
            let (seconds, kernels) = source.sum(network)?;
            columns.sums.push(seconds);
            columns.kernels.push(kernels);
        }
        Ok(columns)
    }

    /// Every correction, the simplest first.
    pub(crate) fn fits(&self, measured: &[f64]) -> Vec<Fitted> {
        let affine = [&self.ones[..], &self.sums];
        let recorded = [&self.ones[..], &self.sums, &self.kernels];
        let line = Affine::fit(&self.sums, measured).map(Correction::Affine);
        let plane = regression::fit(&recorded, measured).map(|found| Correction::Recorded {
            intercept_s: found[0],
            slope: found[1],
            kernel_s: found[2],
        });
        let with = |correction: Option<Correction>, columns: &[&[f64]]| {
            let correction = correction.filter(Correction::rises)?;
            // A space of one latency has no line to leave points out of.
            let predicted = leave_one_out(columns, measured)
                .or_else(|| leave_one_out(&[&self.sums], measured))?;
            Some(Fitted { correction, predicted })
        };
        let (line, plane) = (with(line, &affine), with(plane, &recorded));
        let error = |fitted: &Option<Fitted>| {
            fitted.as_ref().map_or(f64::INFINITY, |fitted| rmspe(&fitted.predicted, measured))
        };
        let base: &[&[f64]] =
            if earns_its_place(error(&plane), error(&line)) { &recorded } else { &affine };
        let ridge =
            ridge::fit(&self.blocks, base, measured).filter(|fitted| fitted.correction.rises());
        [line, plane, ridge].into_iter().flatten().collect()
    }
}
