//! Pictures (SVG): one file each; what they share is here.

mod blocks;
mod compare;
mod latency;
mod learning;
mod pareto;
mod runs;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

pub(crate) use self::{
    blocks::blocks,
    compare::comparison,
    latency::predicted_against_measured,
    learning::learning,
    pareto::{Series, pareto},
    runs::runs,
};
use crate::runtime::write_file;

const SIZE: (u32, u32) = (880, 560);
/// Room below an axis of numbers.
const NUMBERS: u32 = 48;
const GREY: RGBColor = RGBColor(150, 156, 166);
const BLUE: RGBColor = RGBColor(31, 98, 184);
const ORANGE: RGBColor = RGBColor(214, 96, 22);
const INK: RGBColor = RGBColor(40, 44, 52);

/// Of lines that are compared, in turn.
const COLOURS: [RGBColor; 6] = [
    BLUE,
    ORANGE,
    RGBColor(14, 132, 116),
    RGBColor(128, 74, 168),
    RGBColor(190, 48, 78),
    RGBColor(138, 106, 30),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Point = (f64, f64);

/// Seconds as shown on an axis.
struct Unit {
    name: &'static str,
    factor: f64,
}

impl Unit {
    fn of(seconds: f64) -> Self {
        if seconds < 1e-3 {
            Self { name: "us", factor: 1e6 }
        } else {
            Self { name: "ms", factor: 1e3 }
        }
    }
}

/// Draws into a string first, so that no half picture is left behind.
fn draw(path: &Path, content: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        content(&area).map_err(|error| anyhow!("{error}"))?;
        area.present().map_err(|error| anyhow!("{error}"))?;
    }
    write_file(path, svg.as_bytes())
        .with_context(|| format!("cannot write the picture `{}`", path.display()))
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    labels: &(String, String),
    x: Point,
    y: Point,
    below: u32,
) -> std::result::Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(below)
        .y_label_area_size(64)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(|error| error.to_string())?;
    let mut mesh = chart.configure_mesh();
    if labels.0.is_empty() {
        mesh.disable_x_mesh().x_label_formatter(&|_| String::new());
    }
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .axis_style(GREY)
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc(&labels.0)
        .y_desc(&labels.1)
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(chart)
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.5))
        .label_font(("sans-serif", 14).into_font().color(&INK))
        .draw()
        .map_err(|error| error.to_string().into())
}

/// The range of the values with 5 % of room on either side.
fn padded(values: impl Iterator<Item = f64>) -> Point {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-9);
    (low - room, high + room)
}
