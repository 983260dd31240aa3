//! What several methods found under one budget.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{COLOURS, GREY, INK, NUMBERS, Point, Unit, axes, draw, legend, padded};
use crate::{
    commands::compare::{MethodResult, RunsResult},
    run::Candidate,
};

/// Standard deviations of a 95 % interval.
const DEVIATIONS: f64 = 1.96;

/// Test accuracy over measured latency: what each method chose, filled, with the error that the number of test images
/// leaves; the best of its random search and a random network of equal latency, hollow; the budget as a line.
pub(crate) fn runs(path: &Path, result: &RunsResult) -> Result<()> {
    let unit = Unit::of(result.budget_s);
    let point = |candidate: &Candidate| -> Option<Point> {
        Some((candidate.latency_measured_s? * unit.factor, 100.0 * candidate.accuracy_test?))
    };
    let error = |accuracy: f64| {
        let share = accuracy / 100.0;
        100.0 * DEVIATIONS * (share * (1.0 - share) / result.test_images as f64).sqrt()
    };
    let chosen = |method: &MethodResult| -> Vec<Point> {
        method.runs.iter().filter_map(|run| point(&run.chosen)).collect()
    };
    let random = |method: &MethodResult| -> Vec<Point> {
        let both = method.runs.iter().flat_map(|run| [&run.random_best, &run.random_equal_latency]);
        both.filter_map(point).collect()
    };
    let all: Vec<Point> = result
        .methods
        .iter()
        .flat_map(|method| {
            let reach = |(x, y): Point| [(x, y - error(y)), (x, y + error(y))];
            chosen(method).into_iter().flat_map(reach).chain(random(method))
        })
        .collect();
    let budget = result.budget_s * unit.factor;
    let x = padded(all.iter().map(|p| p.0).chain([budget]));
    let y = padded(all.iter().map(|p| p.1));
    draw(path, |area| {
        let labels =
            (format!("measured latency ({})", unit.name), "accuracy on test images (%)".to_owned());
        let mut chart = axes(area, "Networks found under one budget", &labels, x, y, NUMBERS)?;
        chart
            .draw_series([PathElement::new([(budget, y.0), (budget, y.1)], INK.stroke_width(1))])?
            .label(format!("budget {}", crate::format::seconds(result.budget_s)))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], INK.stroke_width(1)));
        for (method, colour) in result.methods.iter().zip(COLOURS.into_iter().cycle()) {
            let bars = chosen(method).into_iter().map(|(x, y)| {
                let ends = [(x, y - error(y)), (x, y + error(y))];
                PathElement::new(ends, colour.mix(0.5).stroke_width(1))
            });
            chart.draw_series(bars)?;
            let hollow = random(method);
            chart.draw_series(
                hollow.into_iter().map(|at| Circle::new(at, 4, colour.stroke_width(1))),
            )?;
            chart
                .draw_series(
                    chosen(method).into_iter().map(|at| Circle::new(at, 6, colour.filled())),
                )?
                .label(method.method.clone())
                .legend(move |(x, y)| Circle::new((x + 10, y), 5, colour.filled()));
        }
        chart
            .draw_series(std::iter::empty::<Circle<Point, i32>>())?
            .label("hollow: random, same training")
            .legend(|(x, y)| Circle::new((x + 10, y), 4, GREY.stroke_width(1)));
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}
