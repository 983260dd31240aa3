//! How predictors learn.

use std::path::Path;

use anyhow::Result;
use netfit_predictors::{Scores, SizeScores};
use plotters::prelude::*;

use super::{COLOURS, GREY, NUMBERS, Point, axes, draw, legend, padded};

/// Kendall's tau over the number of training networks (logarithmic), with its interval as a band; costs in grey.
pub(crate) fn learning(path: &Path, space: &str, sizes: &[SizeScores]) -> Result<()> {
    let place = |size: usize| (size as f64).log10();
    let x = padded(sizes.iter().map(|size| place(size.size)));
    let rankers = || sizes.iter().flat_map(|size| &size.rankers);
    let y = padded(rankers().flat_map(bounds));
    let title = format!("Ranking networks of {space} that were not trained on");
    draw(path, |area| {
        let labels = ("training networks (powers of 10)".to_owned(), "Kendall's tau".to_owned());
        let mut chart = axes(area, &title, &labels, x, y, NUMBERS)?;
        let mut colours = COLOURS.into_iter().cycle();
        for (index, first) in sizes[0].rankers.iter().enumerate() {
            let colour = if first.rmse.is_none() { GREY } else { colours.next().unwrap_or(GREY) };
            let at = |size: &SizeScores| (place(size.size), bounds(&size.rankers[index]));
            let low = sizes.iter().map(|size| (at(size).0, at(size).1[0]));
            let high = sizes.iter().rev().map(|size| (at(size).0, at(size).1[2]));
            let around: Vec<Point> = low.chain(high).collect();
            chart.draw_series([Polygon::new(around, colour.mix(0.12))])?;
            let line = sizes.iter().map(|size| (at(size).0, at(size).1[1]));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(2))?
                .label(&first.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2))
                });
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// Low end, mean, high end.
fn bounds(scores: &Scores) -> [f64; 3] {
    let tau = &scores.kendall_tau;
    let [low, high] = tau.interval.unwrap_or([tau.value; 2]);
    [low, tau.value, high]
}
