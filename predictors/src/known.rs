//! Known accuracies from a CSV file.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use netfit_spaces::{Genotype, Space};

use crate::{Accuracy, Error, Result};

/// A file of known accuracies, one row a network.
#[derive(Clone, Debug)]
pub struct CsvAccuracy {
    path: PathBuf,
    rows: HashMap<Genotype, f64>,
}

/// Where in the file the two columns are, and what 1.0 means there.
struct Columns {
    genotype: String,
    accuracy: String,
    whole: f64,
}

impl CsvAccuracy {
    /// Reads `FILE[,genotype=COLUMN,accuracy=COLUMN,unit=fraction|percent]`, with or without `csv:` before it. The
    /// defaults are the columns `genotype` and `accuracy`, and fractions of 1.
    ///
    /// # Errors
    /// An unknown option or unit, an unreadable file, a missing column, a genotype that is not of `space` or occurs
    /// twice, an accuracy that is no number or out of range, a file without rows.
    pub fn load(option: &str, space: &Space) -> Result<Self> {
        let (path, columns) = parse(option)?;
        Self::read(&path, &columns, space)
    }

    fn read(path: &Path, columns: &Columns, space: &Space) -> Result<Self> {
        let file =
            File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let fail = |line, reason| Error::Csv { path: path.to_owned(), line, reason };
        let broken = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            fail(line, error.to_string())
        };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let headers = reader.headers().map_err(broken)?.clone();
        let column = |name: &str, option: &str| {
            headers.iter().position(|header| header == name).ok_or_else(|| {
                let found: Vec<&str> = headers.iter().collect();
                let found = found.join(", ");
                fail(1, format!("no column `{name}`, found {found}; hint: add `,{option}=COLUMN`"))
            })
        };
        let genotype = column(&columns.genotype, "genotype")?;
        let accuracy = column(&columns.accuracy, "accuracy")?;
        let mut rows = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(broken)?;
            let line = record.position().map_or(1, csv::Position::line);
            let cell = |index: usize| record.get(index).unwrap_or_default();
            let key = space.parse(cell(genotype)).map_err(|error| fail(line, error.to_string()))?;
            let value = value(cell(accuracy), columns.whole).map_err(|why| fail(line, why))?;
            if rows.insert(key, value).is_some() {
                let reason = format!(
                    "genotype `{}` occurs twice, expected one row for each network",
                    cell(genotype)
                );
                return Err(fail(line, reason));
            }
        }
        if rows.is_empty() {
            return Err(fail(1, "expected at least one row, found none".to_owned()));
        }
        Ok(Self { path: path.to_owned(), rows })
    }

    /// Every known accuracy, in the order of genotypes.
    pub fn pairs(&self) -> Vec<(Genotype, f64)> {
        let mut pairs: Vec<_> =
            self.rows.iter().map(|(key, value)| (key.clone(), *value)).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    }
}

impl Accuracy for CsvAccuracy {
    fn source(&self) -> String {
        "csv".to_owned()
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        let known = |genotype: &Genotype| {
            self.rows.get(genotype).copied().ok_or_else(|| Error::Unknown {
                genotype: genotype.to_string(),
                path: self.path.clone(),
                rows: self.rows.len(),
            })
        };
        genotypes.iter().map(known).collect()
    }
}

fn parse(option: &str) -> Result<(PathBuf, Columns)> {
    let fail = |reason: String| Error::Option { text: option.to_owned(), reason };
    let mut parts = option.strip_prefix("csv:").unwrap_or(option).split(',');
    let path = parts.next().filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| fail("expected the path of a file".into()))?;
    let mut columns =
        Columns { genotype: "genotype".into(), accuracy: "accuracy".into(), whole: 1.0 };
    for part in parts {
        match part.split_once('=') {
            Some(("genotype", column)) => column.clone_into(&mut columns.genotype),
            Some(("accuracy", column)) => column.clone_into(&mut columns.accuracy),
            Some(("unit", "fraction")) => columns.whole = 1.0,
            Some(("unit", "percent")) => columns.whole = 100.0,
            Some(("unit", unit)) => return Err(fail(format!("unknown unit `{unit}`"))),
            _ => return Err(fail(format!("unknown option `{part}`"))),
        }
    }
    Ok((path.into(), columns))
}

fn value(text: &str, whole: f64) -> std::result::Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("expected an accuracy, found `{text}`"))?;
    if (0.0..=whole).contains(&number) {
        return Ok(number / whole);
    }
    let hint = if whole < 100.0 && number > 1.0 { "; hint: add `,unit=percent`" } else { "" };
    Err(format!("expected an accuracy from 0 to {whole}, found `{text}`{hint}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(text: &str, options: &str) -> Result<CsvAccuracy> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.csv");
        std::fs::write(&path, text).unwrap();
        let space = Space::preset("nas-bench-macro").unwrap();
        CsvAccuracy::load(&format!("csv:{}{options}", path.display()), &space)
    }

    #[test]
    fn columns_and_units_are_options() {
        let text = "arch,other,mean_acc\n00000000,1,45.5\n00000012, 2, 60\n";
        let mut known = load(text, ",genotype=arch,accuracy=mean_acc,unit=percent").unwrap();
        let space = Space::preset("nas-bench-macro").unwrap();
        let asked = ["00000012", "00000000"].map(|word| space.parse(word).unwrap());
        assert_eq!(known.accuracies(&asked).unwrap(), [0.6, 0.455]);
        let missing = [space.parse("22222222").unwrap()];
        let message = known.accuracies(&missing).unwrap_err().to_string();
        assert!(message.contains("`22222222`") && message.contains("2 rows"), "{message}");
    }

    #[test]
    fn faults_name_the_line_and_what_was_expected() {
        let head = "genotype,accuracy\n";
        for (text, options, line, reason) in [
            ("arch,accuracy\n00000000,0.5\n", "", 1, "no column `genotype`, found arch, accuracy"),
            ("genotype,accuracy\n0000000,0.5\n", "", 2, "expected 8 choices, found 7"),
            ("genotype,accuracy\n00000003,0.5\n", "", 2, "found 3"),
            ("genotype,accuracy\n00000000,0.5\n00000000,0.6\n", "", 3, "occurs twice"),
            ("genotype,accuracy\n00000000,45.5\n", "", 2, "hint: add `,unit=percent`"),
            ("genotype,accuracy\n00000000,nan\n", "", 2, "from 0 to 1"),
            ("genotype,accuracy\n00000000,many\n", "", 2, "found `many`"),
            ("genotype,accuracy\n00000000\n", "", 2, "fields"),
            (head, "", 1, "found none"),
        ] {
            let message = load(text, options).unwrap_err().to_string();
            let place = format!("line {line}:");
            assert!(message.contains(reason) && message.contains(&place), "{text}: {message}");
        }
        for (options, reason) in
            [(",unit=permille", "unknown unit `permille`"), (",rows=3", "unknown option `rows=3`")]
        {
            let message = load(head, options).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("hint:"), "{message}");
        }
    }
}
