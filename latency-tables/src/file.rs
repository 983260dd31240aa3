//! The file format: JSON that a person can read, with a version and a checksum.
//!
//! Beside the table's own fields the file holds `kind` (`"netfit latency table"`), `format` ([`FORMAT`]) and `sha256`, the
//! SHA-256 of the JSON without `sha256` in canonical form: keys sorted, no white space.

use std::{fmt::Write as _, io::Write as _, path::Path};

use atomic_write_file::AtomicWriteFile;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Error, LatencyTable, Result};

/// The version of the file format that is written; this one and older ones are read.
pub const FORMAT: u64 = 2;
const KIND: &str = "netfit latency table";

impl LatencyTable {
    /// Reads a table.
    ///
    /// # Errors
    /// An unreadable file, a part of a table, something else, a table of a newer netfit, an edited table.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let fail = |reason: String| Error::Content { path: path.to_owned(), reason };
        let value = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(fail("expected a JSON object".into()));
        };
        if fields.remove("kind").is_none_or(|kind| kind != KIND) {
            return Err(fail(format!("expected `kind` to be `{KIND}`")));
        }
        match fields.remove("format").and_then(|format| format.as_u64()) {
            Some(1..=FORMAT) => {}
            Some(found) if found > FORMAT => {
                return Err(Error::Future { path: path.to_owned(), found, known: FORMAT });
            }
            _ => return Err(fail("expected a `format` of at least 1".into())),
        }
        let Some(Value::String(found)) = fields.remove("sha256") else {
            return Err(fail("expected a `sha256`".into()));
        };
        let expected = checksum(&fields);
        if found != expected {
            return Err(Error::Checksum { path: path.to_owned(), found, expected });
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| fail(error.to_string()))
    }

    /// Writes the table: the old file or the new one is there, never a part.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let write = |source| Error::Write { path: path.to_owned(), source };
        let value = serde_json::to_value(self).map_err(|error| write(error.into()))?;
        let Value::Object(fields) = value else {
            return Err(write(std::io::Error::other("a table is an object")));
        };
        let mut whole = Map::new();
        whole.insert("kind".into(), KIND.into());
        whole.insert("format".into(), FORMAT.into());
        whole.insert("sha256".into(), checksum(&fields).into());
        whole.extend(fields);
        let mut text = String::new();
        print(&Value::Object(whole), 0, &mut text);
        text.push('\n');
        let mut file = AtomicWriteFile::open(path).map_err(write)?;
        file.write_all(text.as_bytes()).map_err(write)?;
        file.commit().map_err(write)
    }

    /// The `sha256` of a file that the table is saved to.
    pub fn checksum(&self) -> String {
        // Nothing in a table is beyond JSON.
        let value = serde_json::to_value(self).unwrap_or_default();
        checksum(value.as_object().unwrap_or(&Map::new()))
    }
}

/// SHA-256 of the canonical form; `kind` and `format` are checked by value, so they are not in it.
fn checksum(fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    canonical(&Value::Object(fields.clone()), &mut text);
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Keys sorted, whatever order this build's maps keep; no white space.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            text.push('{');
            for key in keys {
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                canonical(&fields[key], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

/// Indented, but what holds only scalars stays on one line: a block's timing, a network's samples.
fn print(value: &Value, depth: usize, text: &mut String) {
    let flat = |value: &Value| !matches!(value, Value::Object(_) | Value::Array(_));
    let newline = |depth: usize| format!("\n{:1$}", "", 2 * depth);
    match value {
        Value::Object(fields) if !fields.values().all(flat) => {
            for (index, (key, item)) in fields.iter().enumerate() {
                let _ =
                    write!(text, "{}{}", if index == 0 { "{" } else { "," }, newline(depth + 1));
                let _ = write!(text, "{}: ", Value::from(key.as_str()));
                print(item, depth + 1, text);
            }
            let _ = write!(text, "{}}}", newline(depth));
        }
        Value::Array(items) if !items.iter().all(flat) => {
            for (index, item) in items.iter().enumerate() {
                let _ =
                    write!(text, "{}{}", if index == 0 { "[" } else { "," }, newline(depth + 1));
                print(item, depth + 1, text);
            }
            let _ = write!(text, "{}]", newline(depth));
        }
        leaf => {
            let _ = write!(text, "{leaf}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::table;

    fn saved() -> (tempfile::TempDir, std::path::PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.json");
        table().save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        (folder, path, text)
    }

    fn message(path: &Path, text: &str) -> String {
        std::fs::write(path, text).unwrap();
        LatencyTable::load(path).unwrap_err().to_string()
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let (_folder, path, text) = saved();
        assert_eq!(LatencyTable::load(&path).unwrap(), table());
        assert!(text.lines().count() > 100, "a block a line");
    }

    #[test]
    fn tables_of_version_1_still_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/table-1.json");
        let read = LatencyTable::load(&path).unwrap();
        assert_eq!(read.space_name, "ofa-28");
        assert_eq!(read.calibration_networks.len(), 3);
        let line = "pool 192x4x4 -> 192x1x1";
        assert!((read.entry(line).unwrap() - 2e-9).abs() < 1e-12, "{:?}", read.entry(line));
    }

    #[test]
    fn tables_of_version_2_still_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/table-2.json");
        let read = LatencyTable::load(&path).unwrap();
        let line = "pool 192x4x4 -> 192x1x1";
        // 1.5 * (2 * 1 ns), by the ridge's factor for this block.
        assert!((read.entry(line).unwrap() - 3e-9).abs() < 1e-12, "{:?}", read.entry(line));
        assert!((read.latency_at(1e-3, 95.0).unwrap().median_s - 1.3e-3).abs() < 1e-12);
        assert_eq!(read.tails[0].validation.as_ref().unwrap().errors.networks, 2);
        assert_eq!(read.tail_networks[0].calls, 1000);
        assert_eq!(read.hygiene.load, Some(0.25));
        assert_eq!(read.hygiene.repeated_for["drift"], 2);
    }

    #[test]
    fn an_edited_table_is_found() {
        let (_folder, path, text) = saved();
        let edited = text.replacen("\"space_name\": \"ofa-28\"", "\"space_name\": \"ofa-29\"", 1);
        assert_ne!(edited, text);
        assert!(message(&path, &edited).contains("was changed after it was written"));
        let spaced = text.replace(": ", " :  ");
        std::fs::write(&path, spaced).unwrap();
        assert!(LatencyTable::load(&path).is_ok(), "white space is no content");
    }

    #[test]
    fn truncated_foreign_and_future_tables_are_refused() {
        let (_folder, path, text) = saved();
        assert!(message(&path, &text[..text.len() / 2]).contains("not a whole latency table"));
        assert!(message(&path, "").contains("not a whole latency table"));
        assert!(message(&path, "{\"kind\": \"shopping list\"}").contains("expected `kind`"));
        assert!(message(&path, "[]").contains("expected a JSON object"));
        let future = text.replacen("\"format\": 2", "\"format\": 7", 1);
        assert!(message(&path, &future).contains("has format 7, this netfit reads up to 2"));
        let zero = text.replacen("\"format\": 2", "\"format\": 0", 1);
        assert!(message(&path, &zero).contains("expected a `format`"));
        std::fs::remove_file(&path).unwrap();
        let gone = LatencyTable::load(&path).unwrap_err().to_string();
        assert!(gone.contains("cannot read latency table"), "{gone}");
    }
}
