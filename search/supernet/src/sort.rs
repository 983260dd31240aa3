//! Channel sorting: before the middle width becomes elastic, its most important channels are moved to the front.

use tch::{Kind, Tensor, no_grad};

use crate::{
    Supernet,
    elastic_block::{ElasticBlock, ElasticConv, ElasticLayer, Width},
};

impl Supernet {
    /// Sorts each block's middle channels by the L1 norm of the point-wise-linear weights that read them, largest
    /// first (section 3.3; `re_organize_middle_weights` in the authors' code), and the channels inside
    /// squeeze-and-excite likewise by its second convolution. The full network computes the same as before.
    ///
    /// `elastic` is how many of a block's widths are elastic already, counted from the largest: a channel stays in its
    /// group between two of these, so trained subnets keep theirs. Departure: the authors' code keeps the groups of
    /// middle channels only, so squeeze-and-excite of subnets that were trained loses its channels.
    pub(crate) fn sort_channels(&self, elastic: usize) {
        for block in self.blocks().filter(|block| !block.widths.is_empty()) {
            let kept = block.widths.len().saturating_sub(elastic);
            no_grad(|| self.sort_block(block, &block.widths[kept..]));
        }
    }

    /// `boundaries` are ascending widths; the last is the full width.
    fn sort_block(&self, block: &ElasticBlock, boundaries: &[Width]) {
        let [ElasticLayer::Conv(expand), ElasticLayer::Conv(depthwise), middle @ .., last] =
            &block.layers[..]
        else {
            unreachable!("an MBConv expands, convolves depth-wise and projects");
        };
        let ElasticLayer::Conv(project) = last else {
            unreachable!("an MBConv ends in a projection")
        };
        let project = self.parameters().get(project.weight);
        let order = within_groups(&norms(project), boundaries.iter().map(|width| width.middle));
        permute(project, 1, &order);
        for conv in [expand, depthwise] {
            self.permute_outputs(conv, &order);
        }
        if let [ElasticLayer::SqueezeExcite(numbers)] = middle {
            let [reduce, reduce_bias, expand, expand_bias] =
                numbers.map(|number| self.parameters().get(number));
            permute(expand, 0, &order);
            permute(expand_bias, 0, &order);
            permute(reduce, 1, &order);
            let order = within_groups(&norms(expand), boundaries.iter().map(|width| width.squeeze));
            permute(expand, 1, &order);
            permute(reduce, 0, &order);
            permute(reduce_bias, 0, &order);
        }
    }

    fn permute_outputs(&self, conv: &ElasticConv, order: &Tensor) {
        for number in [conv.weight, conv.norm.scale, conv.norm.shift] {
            permute(self.parameters().get(number), 0, order);
        }
    }
}

/// L1 norm of all weights that read each input channel: `[out, in, 1, 1]` -> `[in]`.
fn norms(weight: &Tensor) -> Tensor {
    weight.abs().sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double)
}

/// Channels by descending norm, group after group; groups end at the boundaries.
fn within_groups(norms: &Tensor, boundaries: impl Iterator<Item = usize>) -> Tensor {
    let mut start = 0;
    let groups: Vec<Tensor> = boundaries
        .map(|end| {
            let (first, length) = (start, end as i64 - start);
            start = end as i64;
            norms.narrow(0, first, length).argsort(0, true) + first
        })
        .collect();
    Tensor::cat(&groups, 0)
}

fn permute(tensor: &Tensor, dimension: i64, order: &Tensor) {
    tensor.shallow_clone().copy_(&tensor.index_select(dimension, order));
}
