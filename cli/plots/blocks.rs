//! Where the time goes: blocks over the depth of a space.

use std::path::Path;

use anyhow::Result;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{BLUE, INK, ORANGE, Point, Unit, axes, draw, legend, padded};

/// Room below the axis for the names of the slots.
const NAMES: u32 = 96;

/// The seconds of every option at each slot, first slot to last, and the line through each slot's median.
pub(crate) fn blocks(path: &Path, title: &str, slots: &[(String, Vec<f64>)]) -> Result<()> {
    let seconds = || slots.iter().flat_map(|(_, seconds)| seconds.iter().copied());
    let unit = Unit::of(seconds().fold(0.0, f64::max));
    let place = |slot: usize, seconds: f64| -> Point { (slot as f64, seconds * unit.factor) };
    let medians: Vec<Point> = slots
        .iter()
        .enumerate()
        .map(|(slot, (_, seconds))| place(slot, netfit_latency_tables::median(seconds)))
        .collect();
    let x = (-0.5, slots.len() as f64 - 0.5);
    let mut y = padded(seconds().map(|seconds| seconds * unit.factor).chain([0.0]));
    if seconds().all(|seconds| seconds >= 0.0) {
        y.0 = 0.0;
    }
    draw(path, |area| {
        let labels = (String::new(), format!("calibrated time ({})", unit.name));
        let mut chart = axes(area, title, &labels, x, y, NAMES)?;
        let style = ("sans-serif", 13).into_font().transform(FontTransform::Rotate270);
        let style = style.color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
        for (slot, (name, _)) in slots.iter().enumerate() {
            let (right, bottom) = chart.backend_coord(&(slot as f64, y.0));
            let text = Text::new(name.clone(), (right, bottom + 8), style.clone());
            area.draw(&text).map_err(|error| error.to_string())?;
        }
        chart
            .draw_series(LineSeries::new(medians.iter().copied(), ORANGE.stroke_width(2)))?
            .label("median of the options")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], ORANGE.stroke_width(2)));
        let dots = slots.iter().enumerate().flat_map(|(slot, (_, seconds))| {
            seconds.iter().map(move |&seconds| place(slot, seconds))
        });
        chart
            .draw_series(dots.map(|point| Circle::new(point, 4, BLUE.mix(0.6).filled())))?
            .label("block, one for each option")
            .legend(|(x, y)| Circle::new((x + 10, y), 4, BLUE.filled()));
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}
