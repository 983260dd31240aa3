//! Predictions and what was measured.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{BLUE, GREY, NUMBERS, Unit, axes, draw, legend, padded};

/// Predicted over measured latency of whole networks (seconds), with the interval of each prediction.
pub(crate) fn predicted_against_measured(path: &Path, networks: &[(f64, [f64; 3])]) -> Result<()> {
    let longest = networks.iter().map(|(measured, _)| *measured).fold(0.0, f64::max);
    let unit = Unit::of(longest);
    let scaled: Vec<(f64, [f64; 3])> = networks
        .iter()
        .map(|(m, p)| (m * unit.factor, p.map(|value| value * unit.factor)))
        .collect();
    let range = padded(scaled.iter().flat_map(|(m, p)| [*m, p[0], p[2]]));
    draw(path, |area| {
        let labels = (format!("measured ({})", unit.name), format!("predicted ({})", unit.name));
        let mut chart = axes(
            area,
            "Predicted against measured latency of whole networks",
            &labels,
            range,
            range,
            NUMBERS,
        )?;
        chart
            .draw_series([PathElement::new(
                [(range.0, range.0), (range.1, range.1)],
                GREY.stroke_width(1),
            )])?
            .label("perfect prediction")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], GREY.stroke_width(1)));
        let bars = scaled.iter().map(|(m, p)| {
            PathElement::new([(*m, p[0]), (*m, p[2])], BLUE.mix(0.4).stroke_width(2))
        });
        chart.draw_series(bars)?;
        let dots = scaled.iter().map(|(m, p)| Circle::new((*m, p[1]), 4, BLUE.filled()));
        chart
            .draw_series(dots)?
            .label("network, with its 95 % interval")
            .legend(|(x, y)| Circle::new((x + 10, y), 4, BLUE.filled()));
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}
