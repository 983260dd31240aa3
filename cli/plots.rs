//! Pictures (SVG).

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

use crate::runtime::write_file;

const SIZE: (u32, u32) = (880, 560);
const GREY: RGBColor = RGBColor(150, 156, 166);
const BLUE: RGBColor = RGBColor(31, 98, 184);
const ORANGE: RGBColor = RGBColor(214, 96, 22);
const INK: RGBColor = RGBColor(40, 44, 52);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Point = (f64, f64);

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
            axes(area, "Accuracy and latency of the evaluated networks", &labels, x, y)?;
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
        legend(&mut chart)
    })
}

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
        legend(&mut chart)
    })
}

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
) -> std::result::Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .axis_style(GREY)
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc(&labels.0)
        .y_desc(&labels.1)
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(chart)
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.5))
        .label_font(("sans-serif", 14).into_font().color(&INK))
        .draw()
        .map_err(|error| error.to_string().into())
}

fn staircase(front: &[Point]) -> Vec<Point> {
    let mut steps = Vec::new();
    for pair in front.windows(2) {
        steps.extend([pair[0], (pair[1].0, pair[0].1)]);
    }
    steps.extend(front.last());
    steps
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
