//! How strategies close in on the best network.

use std::path::Path;

use anyhow::Result;
use netfit_search::{ComparisonResult, Outcome};
use plotters::prelude::*;

use super::{COLOURS, GREY, NUMBERS, Point, axes, draw, legend, padded};

/// The first share of the evaluations is left out: there all strategies are far from the best, and the rest of the
/// picture would be flat.
const START: f64 = 0.05;
/// Places along a line; more would not be seen.
const PLACES: usize = 400;

/// Lower quartile, median and upper quartile over evaluations.
struct Line {
    name: String,
    colour: RGBColor,
    band: Vec<(f64, [f64; 3])>,
}

/// Regret where the truth is known, else the best accuracy, over evaluations: the median over seeds of each strategy
/// with a band from quartile to quartile. Random search goes on to twice the evaluations.
pub(crate) fn comparison(path: &Path, result: &ComparisonResult) -> Result<()> {
    let optimum = result.truth.as_ref().map(|truth| truth.optimum.accuracy);
    let shown = |accuracy: f64| 100.0 * optimum.map_or(accuracy, |optimum| optimum - accuracy);
    let first = (START * result.evaluations as f64) as usize;
    let lines: Vec<Line> = result
        .strategies
        .iter()
        .skip(1)
        .zip([GREY].into_iter().chain(COLOURS.into_iter().cycle()))
        .map(|(outcome, colour)| line(outcome, colour, first, shown))
        .collect();
    let places = || lines.iter().flat_map(|line| line.band.iter());
    let x = padded(places().map(|(x, _)| *x));
    let mut y = padded(places().flat_map(|(_, y)| *y));
    let label = if optimum.is_some() {
        y.0 = 0.0;
        "regret (points of accuracy)"
    } else {
        "best accuracy within the budget (%)"
    };
    let title = format!("Strategies on {}, {} seeds", result.space, result.seeds);
    draw(path, |area| {
        let labels = ("evaluated networks".to_owned(), label.to_owned());
        let mut chart = axes(area, &title, &labels, x, y, NUMBERS)?;
        for Line { colour, band, .. } in &lines {
            let low = band.iter().map(|(x, y)| (*x, y[0]));
            let high = band.iter().rev().map(|(x, y)| (*x, y[2]));
            let around: Vec<Point> = low.chain(high).collect();
            chart.draw_series([Polygon::new(around, colour.mix(0.12))])?;
        }
        for Line { name, colour, band } in lines {
            let median = band.iter().map(|(x, y)| (*x, y[1]));
            chart.draw_series(LineSeries::new(median, colour.stroke_width(2)))?.label(name).legend(
                move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)),
            );
        }
        let corner = if optimum.is_some() {
            SeriesLabelPosition::UpperRight
        } else {
            SeriesLabelPosition::LowerRight
        };
        legend(&mut chart, corner)
    })
}

fn line(outcome: &Outcome, colour: RGBColor, first: usize, shown: impl Fn(f64) -> f64) -> Line {
    let quartiles = outcome.quartiles();
    let step = (quartiles.len() / PLACES).max(1);
    let last = quartiles.len().saturating_sub(1);
    let band = quartiles
        .into_iter()
        .enumerate()
        .filter(|(place, _)| *place >= first.min(last))
        .filter(|(place, _)| place % step == 0 || *place == last)
        .map(|(place, quartiles)| ((place + 1) as f64, quartiles.map(&shown)))
        .collect();
    Line { name: outcome.name.clone(), colour, band }
}
