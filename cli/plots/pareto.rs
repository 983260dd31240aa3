//! Accuracy over latency.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{BLUE, GREY, INK, NUMBERS, ORANGE, Point, Unit, axes, draw, legend, padded};

/// Points of one meaning.
pub(crate) struct Series<'a> {
    /// What they are, for the legend.
    pub(crate) name: &'a str,
    /// Latency in seconds, accuracy as a fraction of 1.
    pub(crate) points: Vec<Point>,
}

/// Accuracy over latency: what was evaluated, the Pareto front as a staircase, the budget as a line, the winner.
pub(crate) fn pareto(
    path: &Path,
    evaluated: &[Series<'_>],
    front: &[Point],
    winner: Option<Point>,
    budget_s: f64,
) -> Result<()> {
    let unit = Unit::of(budget_s);
    let scale = |&(s, accuracy): &Point| (s * unit.factor, accuracy * 100.0);
    let points: Vec<Point> =
        evaluated.iter().flat_map(|series| series.points.iter().map(scale)).collect();
    let budget = budget_s * unit.factor;
    let (mut x, y) =
        (padded(points.iter().map(|p| p.0).chain([budget])), padded(points.iter().map(|p| p.1)));
    x.0 = x.0.max(0.0);
    draw(path, |area| {
        let labels =
            (format!("latency ({})", unit.name), "accuracy on held-out images (%)".to_owned());
        let mut chart =
            axes(area, "Accuracy and latency of the evaluated networks", &labels, x, y, NUMBERS)?;
        for (series, colour) in evaluated.iter().zip([GREY, BLUE]) {
            let dots = series.points.iter().map(scale);
            chart
                .draw_series(dots.map(|point| Circle::new(point, 3, colour.mix(0.75).filled())))?
                .label(series.name)
                .legend(move |(x, y)| Circle::new((x + 10, y), 4, colour.filled()));
        }
        let mut front: Vec<Point> = front.iter().map(scale).collect();
        front.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(staircase(&front), BLUE.stroke_width(2)))?
            .label("Pareto front")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
        chart
            .draw_series([PathElement::new([(budget, y.0), (budget, y.1)], INK.stroke_width(1))])?
            .label(format!("budget {}", crate::format::seconds(budget_s)))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], INK.stroke_width(1)));
        if let Some(winner) = winner {
            chart
                .draw_series([Circle::new(scale(&winner), 7, ORANGE.filled())])?
                .label("chosen")
                .legend(|(x, y)| Circle::new((x + 10, y), 6, ORANGE.filled()));
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

fn staircase(front: &[Point]) -> Vec<Point> {
    let mut steps = Vec::new();
    for pair in front.windows(2) {
        steps.extend([pair[0], (pair[1].0, pair[0].1)]);
    }
    steps.extend(front.last());
    steps
}
