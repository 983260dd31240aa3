//! Where two tables differ.

use serde::Serialize;

use crate::{LatencyTable, Validation, median};

/// What differs between two tables, the first and the second. Seconds are those of the blocks' chosen sources under
/// the tables' own calibrations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDiff {
    /// The fingerprints' differing fields; empty for tables of one device.
    pub fingerprint: Vec<FieldDiff>,
    /// The spaces' ids.
    pub space_ids: [String; 2],
    /// The sources in use.
    pub sources: [String; 2],
    /// The kinds of the corrections in use.
    pub corrections: [String; 2],
    /// Calibrated seconds of a network without blocks.
    pub constants_s: [f64; 2],
    /// Lines of the blocks that only the first table has.
    pub only_first: Vec<String>,
    /// Lines of the blocks that only the second table has.
    pub only_second: Vec<String>,
    /// The blocks that both have, the most changed ones first.
    pub blocks: Vec<BlockDiff>,
    /// Median of the blocks' absolute relative changes; none without common blocks.
    pub median_change: Option<f64>,
    /// Largest absolute relative change; none without common blocks.
    pub largest_change: Option<f64>,
    /// What the tables' predictions are worth.
    pub validations: [Option<Validation>; 2],
}

/// A field of the fingerprint that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDiff {
    /// The field's name.
    pub field: &'static str,
    /// Its value in the first table.
    pub first: String,
    /// Its value in the second table.
    pub second: String,
}

/// One block in two tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockDiff {
    /// The block's line.
    pub block: String,
    /// Its calibrated seconds in the first table.
    pub first_s: f64,
    /// Its calibrated seconds in the second table.
    pub second_s: f64,
    /// `second / first - 1`; 0 where both are 0.
    pub change: f64,
}

impl LatencyTable {
    /// What differs between this table, the first, and another one. It compares tables of any devices and spaces.
    pub fn diff(&self, other: &Self) -> TableDiff {
        let fields = self.fingerprint.fields().into_iter().zip(other.fingerprint.fields());
        let fingerprint = fields
            .filter(|(first, second)| first.1 != second.1)
            .map(|((field, first), (_, second))| FieldDiff { field, first, second })
            .collect();
        let mut blocks: Vec<BlockDiff> = self
            .entries()
            .filter_map(|(line, _)| {
                let (first_s, second_s) = (self.entry(line)?, other.entry(line)?);
                let change = relative_change(first_s, second_s);
                Some(BlockDiff { block: line.to_owned(), first_s, second_s, change })
            })
            .collect();
        blocks.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        let changes: Vec<f64> = blocks.iter().map(|block| block.change.abs()).collect();
        TableDiff {
            fingerprint,
            space_ids: [self.space_id.clone(), other.space_id.clone()],
            sources: [self.calibration.source.clone(), other.calibration.source.clone()],
            corrections: [self, other].map(|table| table.calibration.correction.name().to_owned()),
            constants_s: [self.constant_s(), other.constant_s()],
            only_first: lines_without(self, other),
            only_second: lines_without(other, self),
            median_change: (!changes.is_empty()).then(|| median(&changes)),
            largest_change: changes.first().copied(),
            blocks,
            validations: [self.validation.clone(), other.validation.clone()],
        }
    }
}

#[allow(clippy::float_cmp)]
fn relative_change(first: f64, second: f64) -> f64 {
    if first == second { 0.0 } else { second / first - 1.0 }
}

/// The blocks that `table` has and `other` has not.
fn lines_without(table: &LatencyTable, other: &LatencyTable) -> Vec<String> {
    let lines = table.entries().map(|(line, _)| line);
    lines.filter(|line| other.entry(line).is_none()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Fingerprint, table::tests::table};

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let same = table().diff(&table());
        assert!(same.fingerprint.is_empty() && same.only_first.is_empty());
        assert!(same.only_second.is_empty() && same.largest_change == Some(0.0));

        let (first, mut second) = (table(), table());
        second.fingerprint = Fingerprint { threads: 2, batch: 8, ..second.fingerprint };
        let entries = &mut second.sources.get_mut("in-place").unwrap().entries;
        let lines: Vec<String> = entries.keys().cloned().collect();
        let gone = entries.remove(&lines[0]).unwrap();
        entries.insert("new".into(), gone);
        entries.get_mut(&lines[5]).unwrap().timing.mean_s *= 1.1;
        entries.get_mut(&lines[7]).unwrap().timing.mean_s *= 0.5;
        let diff = first.diff(&second);
        let fields: Vec<_> = diff.fingerprint.iter().map(|field| field.field).collect();
        assert_eq!(fields, ["threads", "batch"]);
        assert_eq!((&diff.fingerprint[1].first[..], &diff.fingerprint[1].second[..]), ("1", "8"));
        assert_eq!(diff.only_first, [lines[0].clone()]);
        assert_eq!(diff.only_second, ["new"]);
        assert_eq!(diff.blocks.len(), lines.len() - 1);
        let changed: Vec<_> = diff.blocks[..2].iter().map(|block| &block.block).collect();
        assert_eq!(changed, [&lines[7], &lines[5]]);
        assert!((diff.blocks[0].change + 0.5).abs() < 1e-12, "{:?}", diff.blocks[0]);
        assert!((diff.blocks[1].change - 0.1).abs() < 1e-12, "{:?}", diff.blocks[1]);
        assert!((diff.largest_change.unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(diff.median_change, Some(0.0));
    }

    #[test]
    fn tables_without_a_common_block_have_no_change() {
        let mut empty = table();
        empty.sources.clear();
        let diff = table().diff(&empty);
        assert_eq!((diff.blocks.len(), diff.median_change, diff.largest_change), (0, None, None));
        assert_eq!(diff.only_first.len(), table().entries().count());
    }
}
