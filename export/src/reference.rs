//! Networks evaluated by nested loops in double precision, batch normalisation not folded: the tests' oracle.

use netfit_spaces::{Activation, Conv, Layer, LayerKind, NORM_EPSILON, Network, Shape, Skip};

use crate::{Tensor, Weights};

/// The network's outputs for images `[N, C, H, W]`, one image after the other.
pub(crate) fn evaluate(network: &Network, weights: &Weights, images: &Tensor) -> Vec<f64> {
    images
        .data
        .chunks(network.input().elements())
        .flat_map(|image| {
            let mut x: Vec<f64> = image.iter().map(|&pixel| f64::from(pixel)).collect();
            for (index, block) in network.blocks().iter().enumerate() {
                let mut y = x.clone();
                for layer in block.layers() {
                    let prefix = format!("{}.{}", network.block_name(index), layer.name);
                    y = step(&layer, &Source { weights, prefix }, &y);
                }
                match block.skip() {
                    Skip::None => {}
                    Skip::Identity => y.iter_mut().zip(&x).for_each(|(y, x)| *y += x),
                    Skip::Pool => {
                        let means = neighbours(block.input(), &x);
                        y.iter_mut().zip(means).for_each(|(y, x)| *y += x);
                    }
                }
                x = y;
            }
            x
        })
        .collect()
}

struct Source<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl Source<'_> {
    fn read(&self, name: &str) -> Vec<f64> {
        let tensor = self.weights.get(&format!("{}.{name}", self.prefix)).expect("a tensor");
        tensor.data.iter().map(|&number| f64::from(number)).collect()
    }
}

fn step(layer: &Layer, source: &Source, x: &[f64]) -> Vec<f64> {
    match layer.kind {
        LayerKind::Conv(conv) => {
            let y = convolution(conv, layer.input, layer.output, &source.read("weight"), x);
            let [scale, shift, mean, variance] =
                ["norm.weight", "norm.bias", "norm.mean", "norm.variance"].map(|n| source.read(n));
            let pixels = layer.output.height * layer.output.width;
            let normal = |(i, y): (usize, f64)| {
                let c = i / pixels;
                (y - mean[c]) / (variance[c] + NORM_EPSILON).sqrt() * scale[c] + shift[c]
            };
            y.into_iter().enumerate().map(normal).map(|y| activate(conv.activation, y)).collect()
        }
        LayerKind::SqueezeExcite { .. } => {
            let mean = mean(layer.input, x);
            let (reduce, expand) = (source.read("reduce.weight"), source.read("expand.weight"));
            let squeezed: Vec<f64> = affine(&reduce, &source.read("reduce.bias"), &mean)
                .into_iter()
                .map(|y| y.max(0.0))
                .collect();
            let gates = affine(&expand, &source.read("expand.bias"), &squeezed);
            let pixels = layer.input.height * layer.input.width;
            x.iter()
                .enumerate()
                .map(|(i, x)| x * ((gates[i / pixels] + 3.0).clamp(0.0, 6.0) / 6.0))
                .collect()
        }
        LayerKind::Pool => mean(layer.input, x),
        LayerKind::Linear { bias, activation } => {
            let bias = if bias { source.read("bias") } else { vec![0.0; layer.output.channels] };
            let y = affine(&source.read("weight"), &bias, x);
            y.into_iter().map(|y| activate(activation, y)).collect()
        }
    }
}

#[allow(clippy::many_single_char_names)] // indices and images are named as in the formula
fn convolution(conv: Conv, input: Shape, output: Shape, weight: &[f64], x: &[f64]) -> Vec<f64> {
    let (k, pad) = (conv.kernel, conv.kernel / 2);
    let (ins, outs) = (input.channels / conv.groups, output.channels / conv.groups);
    let mut y = Vec::with_capacity(output.elements());
    for o in 0..output.channels {
        for row in 0..output.height {
            for column in 0..output.width {
                let mut sum = 0.0;
                for i in 0..ins {
                    let channel = o / outs * ins + i;
                    for a in 0..k {
                        for b in 0..k {
                            let (r, c) = (row * conv.stride + a, column * conv.stride + b);
                            if (pad..pad + input.height).contains(&r)
                                && (pad..pad + input.width).contains(&c)
                            {
                                let at = (channel * input.height + r - pad) * input.width + c - pad;
                                sum += x[at] * weight[((o * ins + i) * k + a) * k + b];
                            }
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn mean(shape: Shape, x: &[f64]) -> Vec<f64> {
    let pixels = shape.height * shape.width;
    x.chunks(pixels).map(|channel| channel.iter().sum::<f64>() / pixels as f64).collect()
}

/// The mean of the pixels around each one, itself among them, that are in the image.
fn neighbours(shape: Shape, x: &[f64]) -> Vec<f64> {
    let (height, width) = (shape.height as isize, shape.width as isize);
    let around = |at: usize| {
        let (row, column) = (at as isize / width % height, at as isize % width);
        let offsets = (-1..=1).flat_map(|r| (-1..=1).map(move |c| (r, c)));
        let inside = offsets.filter(|(r, c)| {
            (0..height).contains(&(row + r)) && (0..width).contains(&(column + c))
        });
        let values: Vec<f64> =
            inside.map(|(r, c)| x[(at as isize + r * width + c) as usize]).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    (0..x.len()).map(around).collect()
}

fn affine(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    weight
        .chunks(x.len())
        .zip(bias)
        .map(|(row, bias)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias)
        .collect()
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}
