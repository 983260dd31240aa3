//! A small LSTM that reads the choices made so far and says how likely each value of the next one is.

use std::ops::Range;

use netfit_spaces::Random;

/// One layer of LSTM (Hochreiter and Schmidhuber, 1997), as in the controllers of NAS (Zoph and Le, ICLR 2017).
///
/// Step `t` reads the token of what was chosen before it, `x = T[token]` of length 4H, which takes the place of an
/// embedding and the input matrix, and of the gates' biases. With `z = x + U' h`, cut into `i, f, g, o`:
///
/// `c = sigmoid(f) c + sigmoid(i) tanh(g)`, `h = sigmoid(o) tanh(c)`, logits of choice `t`: `V_t h + b_t`.
#[derive(Clone, Debug)]
pub(super) struct Lstm {
    hidden: usize,
    sizes: Vec<usize>,
    /// The token before the first choice is 0; then one for each value of each choice: where those begin.
    tokens: Vec<usize>,
    /// Where `U` begins: `[hidden][4 hidden]`.
    recurrent: usize,
    /// Where each choice's head begins: `[value][hidden + 1]`, the last column is the bias.
    heads: Vec<usize>,
    /// All of them, one after the other; tokens first.
    pub(super) parameters: Vec<f64>,
}

/// What one step leaves behind.
#[derive(Clone, Debug)]
pub(super) struct Step {
    token: usize,
    /// Input, forget, candidate and output gates after their activations.
    gates: Vec<f64>,
    cell: Vec<f64>,
    /// `tanh(cell)`.
    squashed: Vec<f64>,
    output: Vec<f64>,
}

impl Lstm {
    /// Every weight uniform within `span` of 0; head biases are 0.
    pub(super) fn new(sizes: &[usize], hidden: usize, span: f64, random: &mut Random) -> Self {
        let mut tokens = Vec::new();
        let mut count = 1;
        for size in sizes {
            tokens.push(count);
            count += size;
        }
        let recurrent = count * 4 * hidden;
        let mut total = recurrent + 4 * hidden * hidden;
        let mut heads = Vec::new();
        for size in sizes {
            heads.push(total);
            total += size * (hidden + 1);
        }
        let mut parameters: Vec<f64> =
            (0..total).map(|_| span * (2.0 * random.uniform() - 1.0)).collect();
        for (head, size) in heads.iter().zip(sizes) {
            let biases = (1..=*size).map(|row| head + row * (hidden + 1) - 1);
            biases.for_each(|bias| parameters[bias] = 0.0);
        }
        Self { hidden, sizes: sizes.to_vec(), tokens, recurrent, heads, parameters }
    }

    /// The step at choice `index`, which follows `before` and reads the value chosen there.
    pub(super) fn step(&self, index: usize, before: Option<(&Step, u8)>) -> Step {
        let hidden = self.hidden;
        let token = before.map_or(0, |(_, value)| self.tokens[index - 1] + usize::from(value));
        let mut gates = self.parameters[self.input(token)].to_vec();
        let mut cell = vec![0.0; hidden];
        if let Some((step, _)) = before {
            for (unit, output) in step.output.iter().enumerate() {
                add(&mut gates, *output, &self.parameters[self.column(unit)]);
            }
            cell.clone_from(&step.cell);
        }
        for (place, gate) in gates.iter_mut().enumerate() {
            *gate = if place / hidden == 2 { libm::tanh(*gate) } else { sigmoid(*gate) };
        }
        let (mut squashed, mut output) = (Vec::with_capacity(hidden), Vec::with_capacity(hidden));
        for (unit, cell) in cell.iter_mut().enumerate() {
            let gate = |of: usize| gates[of * hidden + unit];
            *cell = gate(1) * *cell + gate(0) * gate(2);
            squashed.push(libm::tanh(*cell));
            output.push(gate(3) * squashed[unit]);
        }
        Step { token, gates, cell, squashed, output }
    }

    /// The steps through all of `values`.
    pub(super) fn steps(&self, values: &[u8]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(values.len());
        for index in 0..values.len() {
            let before = steps.last().map(|step| (step, values[index - 1]));
            steps.push(self.step(index, before));
        }
        steps
    }

    /// The logits of the choice at `index`, whose step is `step`.
    pub(super) fn logits(&self, index: usize, step: &Step) -> Vec<f64> {
        let row = |value: usize| {
            let row = &self.parameters[self.head(index, value)];
            dot(&row[..self.hidden], &step.output) + row[self.hidden]
        };
        (0..self.sizes[index]).map(row).collect()
    }

    /// Adds to `gradient` that of a function whose slopes by each step's logits are `slopes`; a step without slopes
    /// has no logits. Back-propagation through all steps, last to first.
    pub(super) fn backward(&self, steps: &[Step], slopes: &[Vec<f64>], gradient: &mut [f64]) {
        let hidden = self.hidden;
        // Slopes of what a step hands on.
        let (mut output, mut cell) = (vec![0.0; hidden], vec![0.0; hidden]);
        for (index, step) in steps.iter().enumerate().rev() {
            for (value, &slope) in slopes[index].iter().enumerate() {
                let head = self.head(index, value);
                add(&mut output, slope, &self.parameters[head.clone()][..hidden]);
                add(&mut gradient[head.clone()][..hidden], slope, &step.output);
                gradient[head.end - 1] += slope;
            }
            let before = index.checked_sub(1).map(|index| &steps[index]);
            let mut inner = vec![0.0; 4 * hidden];
            for unit in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|of| step.gates[of * hidden + unit]);
                let squashed = step.squashed[unit];
                let slope = cell[unit] + output[unit] * o * (1.0 - squashed * squashed);
                let held = before.map_or(0.0, |step| step.cell[unit]);
                inner[unit] = slope * g * i * (1.0 - i);
                inner[hidden + unit] = slope * held * f * (1.0 - f);
                inner[2 * hidden + unit] = slope * i * (1.0 - g * g);
                inner[3 * hidden + unit] = output[unit] * squashed * o * (1.0 - o);
                cell[unit] = slope * f;
            }
            add(&mut gradient[self.input(step.token)], 1.0, &inner);
            let Some(before) = before else { break };
            for (unit, output) in output.iter_mut().enumerate() {
                let range = self.column(unit);
                add(&mut gradient[range.clone()], before.output[unit], &inner);
                *output = dot(&self.parameters[range], &inner);
            }
        }
    }

    fn input(&self, token: usize) -> Range<usize> {
        let width = 4 * self.hidden;
        token * width..(token + 1) * width
    }

    fn column(&self, unit: usize) -> Range<usize> {
        let start = self.recurrent + unit * 4 * self.hidden;
        start..start + 4 * self.hidden
    }

    fn head(&self, index: usize, value: usize) -> Range<usize> {
        let start = self.heads[index] + value * (self.hidden + 1);
        start..start + self.hidden + 1
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `to += factor * from`.
fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

/// In four sums, which the compiler may compute side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks(4), b.chunks(4));
    let mut sums = [0.0; 4];
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_is_that_computed_by_hand() {
        let mut lstm = Lstm::new(&[2, 2], 1, 0.0, &mut Random::new(0, "lstm"));
        // Tokens: start, two for each choice; then U; then heads.
        lstm.parameters[..4].copy_from_slice(&[0.1, 0.2, 0.3, 0.4]);
        let second = lstm.input(2);
        lstm.parameters[second].copy_from_slice(&[-0.1, 0.5, 0.7, -0.3]);
        let recurrent = lstm.column(0);
        lstm.parameters[recurrent].copy_from_slice(&[1.0, 2.0, -1.0, 0.5]);
        let head = lstm.head(1, 1);
        lstm.parameters[head].copy_from_slice(&[3.0, 0.25]);
        let s = |x: f64| 1.0 / (1.0 + (-x).exp());
        let c0 = s(0.1) * 0.3_f64.tanh();
        let h0 = s(0.4) * c0.tanh();
        let c1 = s(0.5 + 2.0 * h0) * c0 + s(-0.1 + h0) * (0.7 - h0).tanh();
        let h1 = s(-0.3 + 0.5 * h0) * c1.tanh();
        let steps = lstm.steps(&[1, 0]);
        let logits = lstm.logits(1, &steps[1]);
        assert!(logits[0].abs() < 1e-15 && (logits[1] - (3.0 * h1 + 0.25)).abs() < 1e-14);
    }

    /// A weighted sum of all logits but those of the second choice, as if it were inactive.
    #[test]
    fn back_propagation_agrees_with_numerical_derivatives() {
        let mut random = Random::new(1, "lstm");
        let mut lstm = Lstm::new(&[3, 2, 4, 1, 3], 6, 0.8, &mut random);
        let values = [2, 0, 3, 0, 1];
        let slopes: Vec<Vec<f64>> = [3, 0, 4, 1, 3]
            .iter()
            .map(|&size| (0..size).map(|_| random.normal()).collect())
            .collect();
        let sum = |lstm: &Lstm| -> f64 {
            let steps = lstm.steps(&values);
            let at = |index: usize| dot(&lstm.logits(index, &steps[index]), &slopes[index]);
            (0..values.len()).map(at).sum()
        };
        let mut gradient = vec![0.0; lstm.parameters.len()];
        lstm.backward(&lstm.steps(&values), &slopes, &mut gradient);
        let mut nonzero = 0;
        for (place, slope) in gradient.into_iter().enumerate() {
            let parameter = lstm.parameters[place];
            let mut at = |shift: f64| {
                lstm.parameters[place] = parameter + shift;
                sum(&lstm)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            lstm.parameters[place] = parameter;
            assert!((slope - expected).abs() < 1e-8, "{place}: {slope} against {expected}");
            nonzero += usize::from(slope.abs() > 1e-6);
        }
        // Five tokens of 24 (the first forgets nothing), U of 144, and four heads of 7 for each value.
        assert_eq!(nonzero, 5 * 24 - 6 + 144 + 11 * 7);
    }
}
