//! Images in a folder per class.

use crate::{Description, FolderSpec, Result, load::Stored};

pub(crate) fn load(_spec: &FolderSpec, _seed: u64) -> Result<Stored> {
    todo!()
}
pub(crate) fn describe(_spec: &FolderSpec) -> Result<Description> {
    todo!()
}
