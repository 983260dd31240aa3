//! Names in a model. A block's name (`b03_mbconv`, see [`netfit_spaces::Network::block_name`]) starts the name of its
//! nodes (`b03_mbconv/expand/conv`), of their outputs (`b03_mbconv/expand/conv:0`) and of their constants
//! (`b03_mbconv/expand/conv.weight`).

/// Name of a model's input, normalised pixels `[N, C, H, W]`.
pub const INPUT: &str = "images";
/// Name of a model's output, `[N, classes]`.
pub const OUTPUT: &str = "logits";

/// Index of the block that a node or tensor belongs to; none for [`INPUT`], [`OUTPUT`] and names that a runtime made up.
///
/// Runtimes decorate names when they fuse nodes (`fused b03_mbconv/expand/conv`, `b03_mbconv/se/relu:0_nchwc`), so the
/// block's name may stand anywhere; of several blocks the first counts.
///
/// ```
/// assert_eq!(netfit_export::block_of("fused b03_mbconv/expand/conv:0_nchwc"), Some(3));
/// assert_eq!(netfit_export::block_of("ReorderOutput_token_19"), None);
/// ```
pub fn block_of(name: &str) -> Option<usize> {
    name.match_indices('b')
        .filter(|(at, _)| !name[..*at].ends_with(|c: char| c.is_ascii_alphanumeric()))
        .find_map(|(at, _)| index(&name[at + 1..]))
}

/// The number in `03_mbconv/...`.
fn index(rest: &str) -> Option<usize> {
    let (digits, rest) = rest.split_once('_')?;
    let (kind, _) = rest.split_once('/')?;
    let numeric = digits.len() >= 2 && digits.bytes().all(|c| c.is_ascii_digit());
    let known = matches!(kind, "conv" | "dsconv" | "mbconv" | "pool" | "linear");
    if numeric && known { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_block() {
        for (name, block) in [
            ("b00_conv/conv/conv", Some(0)),
            ("b12_linear/linear/gemm.weight", Some(12)),
            ("b107_dsconv/add:0", Some(107)),
            ("fused b03_mbconv/expand/conv", Some(3)),
            ("reorder_b04_pool/pool/mean:0_token_2", Some(4)),
            ("b03_mbconv/add:0 b04_mbconv/expand/conv:0", Some(3)),
            ("images", None),
            ("logits", None),
            ("b3_mbconv/expand/conv", None),
            ("b03_attention/expand", None),
            ("rgb03_conv/x", None),
            ("b03_mbconv", None),
            ("b99999999999999999999999_conv/x", None),
            ("", None),
            ("bü/b", None),
        ] {
            assert_eq!(block_of(name), block, "{name}");
        }
    }
}
