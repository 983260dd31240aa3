//! Block times as comma-separated values.

use crate::LatencyTable;

const HEADER: &str = "block,calibrated_s,source,median_s,mean_s,mad_s,min_s,samples,kernels";

impl LatencyTable {
    /// A row for each source and block, after a header: the block's line, its calibrated seconds (empty for the
    /// sources that are not in use), the source, median, mean of the middle, median absolute deviation and minimum
    /// in seconds, samples, kernels. RFC 4180, but with line feeds.
    pub fn to_csv(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (name, source) in &self.sources {
            for (line, entry) in &source.entries {
                let used = (*name == self.calibration.source).then(|| self.entry(line)).flatten();
                let timing = &entry.timing;
                let cells = [
                    quoted(line),
                    used.map_or_else(String::new, |seconds| seconds.to_string()),
                    quoted(name),
                    timing.median_s.to_string(),
                    timing.mean_s.to_string(),
                    timing.mad_s.to_string(),
                    timing.min_s.to_string(),
                    timing.samples.to_string(),
                    entry.kernels.to_string(),
                ];
                text.push_str(&cells.join(","));
                text.push('\n');
            }
        }
        text
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Entry, Source, Timing, table::tests::table};

    #[test]
    fn a_row_for_each_source_and_block() {
        let mut table = table();
        let entry = Entry { timing: Timing::of(&[0.5, 0.5]).unwrap(), kernels: 3.0 };
        let source = |line: &str| Source {
            entries: BTreeMap::from([(line.to_owned(), entry.clone())]),
            overhead: entry.timing.clone(),
        };
        table.sources = BTreeMap::from([
            ("between, rotating".to_owned(), source("a \"b\"")),
            ("in-place".to_owned(), source("pool 2x1x1 -> 2x1x1")),
        ]);
        table.calibration.correction =
            crate::Correction::Affine(crate::Affine { intercept_s: 1.0, slope: 2.0 });
        let expected = format!(
            "{HEADER}\n\"a \"\"b\"\"\",,\"between, rotating\",0.5,0.5,0,0.5,2,3\n\
             pool 2x1x1 -> 2x1x1,1,in-place,0.5,0.5,0,0.5,2,3\n"
        );
        assert_eq!(table.to_csv(), expected);
    }
}
